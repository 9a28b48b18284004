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

-- output mined.departure_weather
WITH "hourly" AS (
  SELECT
    origin,
    time_hour,
    temp,
    wind_speed,
    precip,
    visib
  FROM "weather"
), "with_weather" AS (
  WITH _mlp_eligible AS NOT MATERIALIZED (
    SELECT
      "origin",
      "time_hour",
      "temp",
      "wind_speed",
      "precip",
      "visib",
      EPOCH_US("time_hour") AS "_mlp_time"
    FROM "hourly"
    WHERE
      NOT "origin" IS NULL AND NOT "time_hour" IS NULL
  ), _mlp_repeated AS (
    SELECT
      "origin",
      "_mlp_time"
    FROM "_mlp_eligible"
    GROUP BY
      "origin",
      "_mlp_time"
    HAVING
      COUNT(*) > 1
  ), _mlp_right AS (
    SELECT
      e."origin",
      e."time_hour",
      e."temp",
      e."wind_speed",
      e."precip",
      e."visib",
      e."_mlp_time"
    FROM "_mlp_eligible" AS e
    ANTI JOIN "_mlp_repeated" AS _mlp_d
      ON e."origin" IS NOT DISTINCT FROM _mlp_d."origin"
      AND e."_mlp_time" IS NOT DISTINCT FROM _mlp_d."_mlp_time"
    UNION ALL
    SELECT
      "origin",
      "time_hour",
      "temp",
      "wind_speed",
      "precip",
      "visib",
      "_mlp_time"
    FROM (
      SELECT
        e."origin",
        e."time_hour",
        e."temp",
        e."wind_speed",
        e."precip",
        e."visib",
        e."_mlp_time",
        ROW_NUMBER() OVER (
          PARTITION BY e."origin", e."_mlp_time"
          ORDER BY CASE
            WHEN e."_mlp_many" > 1
            THEN SHA256(
              'origin=' || COALESCE(
                CASE
                  WHEN STARTS_WITH(e."origin", '~')
                  THEN '\' || REPLACE(REPLACE(e."origin", '\', '\\'), '|', '\|')
                  ELSE REPLACE(REPLACE(e."origin", '\', '\\'), '|', '\|')
                END,
                '~'
              ) || '|' || 'precip=' || COALESCE(
                CASE
                  WHEN NOT (
                    ISFINITE(e."precip") OR ISINF(e."precip")
                  )
                  THEN '7ff8000000000000'
                  ELSE PRINTF(
                    '%016x',
                    CAST(CAST((
                      CAST(e."precip" AS DOUBLE) + CAST(0 AS DOUBLE)
                    ) AS BIT) AS UBIGINT)
                  )
                END,
                '~'
              ) || '|' || 'temp=' || COALESCE(
                CASE
                  WHEN NOT (
                    ISFINITE(e."temp") OR ISINF(e."temp")
                  )
                  THEN '7ff8000000000000'
                  ELSE PRINTF(
                    '%016x',
                    CAST(CAST((
                      CAST(e."temp" AS DOUBLE) + CAST(0 AS DOUBLE)
                    ) AS BIT) AS UBIGINT)
                  )
                END,
                '~'
              ) || '|' || 'time_hour=' || COALESCE(CAST(EPOCH_US(e."time_hour") AS TEXT), '~') || '|' || 'visib=' || COALESCE(
                CASE
                  WHEN NOT (
                    ISFINITE(e."visib") OR ISINF(e."visib")
                  )
                  THEN '7ff8000000000000'
                  ELSE PRINTF(
                    '%016x',
                    CAST(CAST((
                      CAST(e."visib" AS DOUBLE) + CAST(0 AS DOUBLE)
                    ) AS BIT) AS UBIGINT)
                  )
                END,
                '~'
              ) || '|' || 'wind_speed=' || COALESCE(
                CASE
                  WHEN NOT (
                    ISFINITE(e."wind_speed") OR ISINF(e."wind_speed")
                  )
                  THEN '7ff8000000000000'
                  ELSE PRINTF(
                    '%016x',
                    CAST(CAST((
                      CAST(e."wind_speed" AS DOUBLE) + CAST(0 AS DOUBLE)
                    ) AS BIT) AS UBIGINT)
                  )
                END,
                '~'
              )
            )
          END DESC
        ) AS _mlp_rank
      FROM (
        SELECT
          e."origin",
          e."time_hour",
          e."temp",
          e."wind_speed",
          e."precip",
          e."visib",
          e."_mlp_time",
          COUNT(*) OVER (PARTITION BY e."origin", e."_mlp_time") AS _mlp_many
        FROM "_mlp_eligible" AS e
        SEMI JOIN "_mlp_repeated" AS _mlp_d
          ON e."origin" IS NOT DISTINCT FROM _mlp_d."origin"
          AND e."_mlp_time" IS NOT DISTINCT FROM _mlp_d."_mlp_time"
      ) AS e
    ) AS ranked
    WHERE
      _mlp_rank = 1
  )
  SELECT
    l."year",
    l."month",
    l."day",
    l."dep_time",
    l."sched_dep_time",
    l."dep_delay",
    l."arr_time",
    l."sched_arr_time",
    l."arr_delay",
    l."carrier",
    l."flight",
    l."tailnum",
    l."origin",
    l."dest",
    l."air_time",
    l."distance",
    l."hour",
    l."minute",
    l."time_hour",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."time_hour")
        )) <= 3600000000
      ), FALSE)
      THEN r."temp"
    END AS "temp",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."time_hour")
        )) <= 3600000000
      ), FALSE)
      THEN r."wind_speed"
    END AS "wind_speed",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."time_hour")
        )) <= 3600000000
      ), FALSE)
      THEN r."precip"
    END AS "precip",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."time_hour")
        )) <= 3600000000
      ), FALSE)
      THEN r."visib"
    END AS "visib",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."time_hour")
        )) <= 3600000000
      ), FALSE)
      THEN r."time_hour"
    END AS "weather_time_hour",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."time_hour")
        )) <= 3600000000
      ), FALSE)
      THEN (
        r."_mlp_time" - EPOCH_US(l."time_hour")
      ) * 1000
    END AS "weather_delta_ns",
    COALESCE((
      ABS((
        r."_mlp_time" - EPOCH_US(l."time_hour")
      )) <= 3600000000
    ), FALSE) AS "weather_matched"
  FROM "flights" AS l
  ASOF LEFT JOIN "_mlp_right" AS r
    ON l."origin" = r."origin" AND EPOCH_US(l."time_hour") >= r."_mlp_time"
), "with_planes" AS (
  SELECT
    l."year",
    l."month",
    l."day",
    l."dep_time",
    l."sched_dep_time",
    l."dep_delay",
    l."arr_time",
    l."sched_arr_time",
    l."arr_delay",
    l."carrier",
    l."flight",
    l."tailnum",
    l."origin",
    l."dest",
    l."air_time",
    l."distance",
    l."hour",
    l."minute",
    l."time_hour",
    l."temp",
    l."wind_speed",
    l."precip",
    l."visib",
    l."weather_time_hour",
    l."weather_delta_ns",
    l."weather_matched",
    r."year" AS "plane_year",
    r."manufacturer",
    r."model",
    r."seats"
  FROM "with_weather" AS l
  LEFT JOIN "planes" AS r
    ON l."tailnum" = r."tailnum"
)
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
  "time_hour",
  "temp",
  "wind_speed",
  "precip",
  "visib",
  "weather_time_hour",
  "weather_delta_ns",
  "weather_matched",
  "plane_year",
  "manufacturer",
  "model",
  "seats"
FROM "with_planes";
