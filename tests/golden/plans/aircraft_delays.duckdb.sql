CREATE VIEW "flights" AS
SELECT
  CAST(NULL AS INT) AS "year",
  CAST(NULL AS INT) AS "month",
  CAST(NULL AS INT) AS "day",
  CAST(NULL AS INT) AS "dep_time",
  CAST(NULL AS INT) AS "sched_dep_time",
  CAST(NULL AS INT) AS "dep_delay",
  CAST(NULL AS INT) AS "arr_time",
  CAST(NULL AS INT) AS "sched_arr_time",
  CAST(NULL AS INT) AS "arr_delay",
  CAST(NULL AS TEXT) AS "carrier",
  CAST(NULL AS INT) AS "flight",
  CAST(NULL AS TEXT) AS "tailnum",
  CAST(NULL AS TEXT) AS "origin",
  CAST(NULL AS TEXT) AS "dest",
  CAST(NULL AS INT) AS "air_time",
  CAST(NULL AS INT) AS "distance",
  CAST(NULL AS INT) AS "hour",
  CAST(NULL AS INT) AS "minute",
  CAST(NULL AS TIMESTAMPTZ) AS "time_hour"
WHERE
  FALSE;

CREATE VIEW "planes" AS
SELECT
  CAST(NULL AS TEXT) AS "tailnum",
  CAST(NULL AS INT) AS "year",
  CAST(NULL AS TEXT) AS "type",
  CAST(NULL AS TEXT) AS "manufacturer",
  CAST(NULL AS TEXT) AS "model",
  CAST(NULL AS INT) AS "engines",
  CAST(NULL AS INT) AS "seats",
  CAST(NULL AS INT) AS "speed",
  CAST(NULL AS TEXT) AS "engine"
WHERE
  FALSE;

CREATE TABLE "with_age" AS
SELECT
  "tailnum",
  "departures",
  "mean_delay_min",
  "worst_delay_min",
  "late_share",
  "miles",
  "built",
  "manufacturer",
  "model",
  "seats"
FROM "with_age";

-- output mined.aircraft_delays
SELECT
  "tailnum",
  "departures",
  "mean_delay_min",
  "worst_delay_min",
  "late_share",
  "miles",
  "built",
  "manufacturer",
  "model",
  "seats"
FROM "with_age";

-- output mined.manufacturer_delays
SELECT
  "manufacturer",
  "aircraft",
  CAST("departures" AS BIGINT) AS "departures",
  "mean_delay_min"
FROM (
  SELECT
    manufacturer,
    COUNT(*) AS aircraft,
    SUM(departures) AS departures,
    SUM(mean_delay_min * departures) / SUM(departures) AS mean_delay_min
  FROM with_age
  WHERE
    NOT manufacturer IS NULL
  GROUP BY
    manufacturer
) AS pinned;
