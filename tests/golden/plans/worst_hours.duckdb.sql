CREATE VIEW "departures" AS
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
  CAST(NULL AS TIMESTAMPTZ) AS "time_hour",
  CAST(NULL AS DOUBLE) AS "temp",
  CAST(NULL AS DOUBLE) AS "wind_speed",
  CAST(NULL AS DOUBLE) AS "precip",
  CAST(NULL AS DOUBLE) AS "visib",
  CAST(NULL AS TIMESTAMPTZ) AS "weather_time_hour",
  CAST(NULL AS BIGINT) AS "weather_delta_ns",
  CAST(NULL AS BOOLEAN) AS "weather_matched",
  CAST(NULL AS INT) AS "plane_year",
  CAST(NULL AS TEXT) AS "manufacturer",
  CAST(NULL AS TEXT) AS "model",
  CAST(NULL AS INT) AS "seats"
WHERE
  FALSE;

CREATE TABLE "hours" AS
SELECT
  "origin",
  "time_hour",
  "departures",
  "mean_delay_min",
  "worst_delay_min",
  "visib",
  "precip"
FROM "hours";

-- output mined.delay_hours
SELECT
  "origin",
  "time_hour",
  "departures",
  "mean_delay_min",
  "worst_delay_min",
  "visib",
  "precip"
FROM "hours";

-- output exports/worst_hours.csv
SELECT
  "origin",
  "time_hour",
  "departures",
  "mean_delay_min",
  "worst_delay_min",
  "visib",
  "precip"
FROM (
  SELECT
    "origin",
    "time_hour",
    "departures",
    "mean_delay_min",
    "worst_delay_min",
    "visib",
    "precip"
  FROM "hours"
) AS rows
ORDER BY
  mean_delay_min DESC,
  "origin" ASC,
  "time_hour" ASC,
  "departures" ASC,
  "worst_delay_min" ASC,
  "visib" ASC,
  "precip" ASC
LIMIT 20;
