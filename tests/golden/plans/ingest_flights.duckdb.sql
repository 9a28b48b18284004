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

CREATE VIEW "weather" AS
SELECT
  CAST(NULL AS TEXT) AS "origin",
  CAST(NULL AS INT) AS "year",
  CAST(NULL AS INT) AS "month",
  CAST(NULL AS INT) AS "day",
  CAST(NULL AS INT) AS "hour",
  CAST(NULL AS DOUBLE) AS "temp",
  CAST(NULL AS DOUBLE) AS "dewp",
  CAST(NULL AS DOUBLE) AS "humid",
  CAST(NULL AS INT) AS "wind_dir",
  CAST(NULL AS DOUBLE) AS "wind_speed",
  CAST(NULL AS DOUBLE) AS "wind_gust",
  CAST(NULL AS DOUBLE) AS "precip",
  CAST(NULL AS DOUBLE) AS "pressure",
  CAST(NULL AS DOUBLE) AS "visib",
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

CREATE VIEW "airports" AS
SELECT
  CAST(NULL AS TEXT) AS "faa",
  CAST(NULL AS TEXT) AS "name",
  CAST(NULL AS DOUBLE) AS "lat",
  CAST(NULL AS DOUBLE) AS "lon",
  CAST(NULL AS INT) AS "alt",
  CAST(NULL AS INT) AS "tz",
  CAST(NULL AS TEXT) AS "dst",
  CAST(NULL AS TEXT) AS "tzone"
WHERE
  FALSE;

CREATE VIEW "airlines" AS
SELECT
  CAST(NULL AS TEXT) AS "carrier",
  CAST(NULL AS TEXT) AS "name"
WHERE
  FALSE;

-- output raw.flights
SELECT
  "year",
  "month",
  "day",
  "dep_time",
  "sched_dep_time",
  "dep_delay",
  "arr_time",
  "sched_arr_time",
  "arr_delay",
  "carrier",
  "flight",
  "tailnum",
  "origin",
  "dest",
  "air_time",
  "distance",
  "hour",
  "minute",
  "time_hour"
FROM "flights";

-- output raw.weather
SELECT
  "origin",
  "year",
  "month",
  "day",
  "hour",
  "temp",
  "dewp",
  "humid",
  "wind_dir",
  "wind_speed",
  "wind_gust",
  "precip",
  "pressure",
  "visib",
  "time_hour"
FROM "weather";

-- output raw.planes
SELECT
  "tailnum",
  "year",
  "type",
  "manufacturer",
  "model",
  "engines",
  "seats",
  "speed",
  "engine"
FROM "planes";

-- output raw.airports
SELECT
  "faa",
  "name",
  "lat",
  "lon",
  "alt",
  "tz",
  "dst",
  "tzone"
FROM "airports";

-- output raw.airlines
SELECT
  "carrier",
  "name"
FROM "airlines";
