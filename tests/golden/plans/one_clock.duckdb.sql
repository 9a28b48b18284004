CREATE VIEW "frames" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS BIGINT) AS "frame_id"
WHERE
  FALSE;

CREATE VIEW "speed" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS DOUBLE) AS "speed_mps"
WHERE
  FALSE;

CREATE VIEW "steering" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS DOUBLE) AS "steering_deg"
WHERE
  FALSE;

CREATE VIEW "imu" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS DOUBLE) AS "a_forward_mps2"
WHERE
  FALSE;

CREATE VIEW "radar" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS DOUBLE) AS "ahead_m",
  CAST(NULL AS DOUBLE) AS "closing_mps",
  CAST(NULL AS DOUBLE) AS "address"
WHERE
  FALSE;

CREATE VIEW "ublox" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS DOUBLE) AS "lat_deg",
  CAST(NULL AS DOUBLE) AS "lon_deg",
  CAST(NULL AS DOUBLE) AS "speed_mps"
WHERE
  FALSE;

CREATE VIEW "qcom" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS DOUBLE) AS "lat_deg",
  CAST(NULL AS DOUBLE) AS "lon_deg",
  CAST(NULL AS DOUBLE) AS "speed_mps"
WHERE
  FALSE;

CREATE TABLE "with_qcom" AS
SELECT
  "log_id",
  "t_ns",
  "frame_id",
  "speed_mps",
  "speed_t_ns",
  "speed_delta_ns",
  "speed_matched",
  "steering_deg",
  "steering_t_ns",
  "steering_delta_ns",
  "steering_matched",
  "a_forward_mps2",
  "imu_t_ns",
  "imu_delta_ns",
  "imu_matched",
  "ahead_m",
  "closing_mps",
  "address",
  "radar_t_ns",
  "radar_delta_ns",
  "radar_matched",
  "ublox_lat_deg",
  "ublox_lon_deg",
  "ublox_speed_mps",
  "ublox_t_ns",
  "ublox_delta_ns",
  "ublox_matched",
  "qcom_lat_deg",
  "qcom_lon_deg",
  "qcom_speed_mps",
  "qcom_t_ns",
  "qcom_delta_ns",
  "qcom_matched"
FROM "with_qcom";

-- output mined.one_clock
WITH _mlp_eligible AS NOT MATERIALIZED (
  SELECT
    "log_id",
    "t_ns",
    "a_forward_mps2",
    "t_ns" AS "_mlp_time"
  FROM "imu"
  WHERE
    NOT "log_id" IS NULL AND NOT "t_ns" IS NULL
), _mlp_repeated AS (
  SELECT
    "log_id",
    "_mlp_time"
  FROM "_mlp_eligible"
  GROUP BY
    "log_id",
    "_mlp_time"
  HAVING
    COUNT(*) > 1
), _mlp_rows AS (
  SELECT
    e."log_id",
    e."t_ns",
    e."a_forward_mps2",
    e."_mlp_time",
    CAST(NULL AS TEXT) AS "_mlp_tie"
  FROM "_mlp_eligible" AS e
  ANTI JOIN "_mlp_repeated" AS _mlp_d
    ON e."log_id" IS NOT DISTINCT FROM _mlp_d."log_id"
    AND e."_mlp_time" IS NOT DISTINCT FROM _mlp_d."_mlp_time"
  UNION ALL
  SELECT
    e."log_id",
    e."t_ns",
    e."a_forward_mps2",
    e."_mlp_time",
    SHA256(
      'a_forward_mps2=' || COALESCE(
        CASE
          WHEN NOT (
            ISFINITE(e."a_forward_mps2") OR ISINF(e."a_forward_mps2")
          )
          THEN '7ff8000000000000'
          ELSE PRINTF(
            '%016x',
            CAST(CAST((
              CAST(e."a_forward_mps2" AS DOUBLE) + CAST(0 AS DOUBLE)
            ) AS BIT) AS UBIGINT)
          )
        END,
        '~'
      ) || '|' || 'log_id=' || COALESCE(
        CASE
          WHEN STARTS_WITH(e."log_id", '~')
          THEN '\' || REPLACE(REPLACE(e."log_id", '\', '\\'), '|', '\|')
          ELSE REPLACE(REPLACE(e."log_id", '\', '\\'), '|', '\|')
        END,
        '~'
      ) || '|' || 't_ns=' || COALESCE(CAST(e."t_ns" AS TEXT), '~')
    ) AS "_mlp_tie"
  FROM "_mlp_eligible" AS e
  SEMI JOIN "_mlp_repeated" AS _mlp_d
    ON e."log_id" IS NOT DISTINCT FROM _mlp_d."log_id"
    AND e."_mlp_time" IS NOT DISTINCT FROM _mlp_d."_mlp_time"
), _mlp_copies AS (
  SELECT
    "log_id",
    "a_forward_mps2",
    "_mlp_time",
    "_mlp_tie",
    "_mlp_own" - "_mlp_back" AS "_mlp_bucket"
  FROM (
    SELECT
      "log_id",
      "a_forward_mps2",
      "_mlp_time",
      "_mlp_tie",
      (
        (
          "_mlp_time"
        ) // 50000001 - CASE WHEN (
          "_mlp_time"
        ) % 50000001 < 0 THEN 1 ELSE 0 END
      ) AS "_mlp_own",
      UNNEST([0, 1]) AS "_mlp_back"
    FROM "_mlp_rows"
  ) AS b
), _mlp_windows AS (
  SELECT DISTINCT
    "log_id",
    "t_ns" AS "_mlp_time",
    (
      "t_ns" - 25000000
    ) AS "_mlp_low",
    (
      "t_ns" + 25000000
    ) AS "_mlp_high",
    (
      (
        (
          "t_ns" - 25000000
        )
      ) // 50000001 - CASE WHEN (
        (
          "t_ns" - 25000000
        )
      ) % 50000001 < 0 THEN 1 ELSE 0 END
    ) AS "_mlp_bucket"
  FROM "with_qcom"
  WHERE
    NOT "log_id" IS NULL AND NOT "t_ns" IS NULL
), _mlp_found AS (
  SELECT
    w."log_id",
    w."_mlp_time",
    w."_mlp_bucket",
    SUM(
      CASE
        WHEN NOT ISNAN(r."a_forward_mps2")
        THEN CAST(r."a_forward_mps2" AS DOUBLE) + CAST(0 AS DOUBLE)
      END ORDER BY r."_mlp_time" ASC NULLS FIRST, r."_mlp_tie" ASC NULLS FIRST
    ) / NULLIF(
      COUNT(
        CASE
          WHEN NOT ISNAN(r."a_forward_mps2")
          THEN CAST(r."a_forward_mps2" AS DOUBLE) + CAST(0 AS DOUBLE)
        END
      ),
      0
    ) AS "_mlp_0",
    MAX(
      CASE
        WHEN NOT ISNAN(r."a_forward_mps2")
        THEN CAST(r."a_forward_mps2" AS DOUBLE) + CAST(0 AS DOUBLE)
      END
    ) AS "_mlp_1",
    COUNT(*) AS "_mlp_n",
    MIN(r."_mlp_time") AS "_mlp_first",
    MAX(r."_mlp_time") AS "_mlp_last"
  FROM "_mlp_windows" AS w
  JOIN "_mlp_copies" AS r
    ON w."log_id" = r."log_id"
    AND w."_mlp_bucket" = r."_mlp_bucket"
    AND r."_mlp_time" BETWEEN w."_mlp_low" AND w."_mlp_high"
  GROUP BY
    w."log_id",
    w."_mlp_time",
    w."_mlp_bucket"
  HAVING
    CASE
      WHEN COUNT(*) > 100000
      THEN CAST(ERROR(
        'mlplatform-row<E_MAX_ROWS|a window holds more than 100000 rows|make the window shorter, or raise max_rows|' || 'log_id = ' || COALESCE(
          CASE
            WHEN STARTS_WITH(w."log_id", '~')
            THEN '\' || REPLACE(REPLACE(w."log_id", '\', '\\'), '|', '\|')
            ELSE REPLACE(REPLACE(w."log_id", '\', '\\'), '|', '\|')
          END,
          '~'
        ) || ', t_ns = ' || COALESCE(CAST(w."_mlp_time" AS TEXT), '~') || '>mlplatform-row'
      ) AS BOOLEAN)
      ELSE TRUE
    END
)
SELECT
  l."log_id",
  l."t_ns",
  l."frame_id",
  l."speed_mps",
  l."speed_t_ns",
  l."speed_delta_ns",
  l."speed_matched",
  l."steering_deg",
  l."steering_t_ns",
  l."steering_delta_ns",
  l."steering_matched",
  l."a_forward_mps2",
  l."imu_t_ns",
  l."imu_delta_ns",
  l."imu_matched",
  l."ahead_m",
  l."closing_mps",
  l."address",
  l."radar_t_ns",
  l."radar_delta_ns",
  l."radar_matched",
  l."ublox_lat_deg",
  l."ublox_lon_deg",
  l."ublox_speed_mps",
  l."ublox_t_ns",
  l."ublox_delta_ns",
  l."ublox_matched",
  l."qcom_lat_deg",
  l."qcom_lon_deg",
  l."qcom_speed_mps",
  l."qcom_t_ns",
  l."qcom_delta_ns",
  l."qcom_matched",
  f."_mlp_0" AS "a_mean_mps2",
  f."_mlp_1" AS "a_max_mps2",
  COALESCE(f."_mlp_n", 0) AS "around_n_rows",
  f."_mlp_first" AS "around_first_t_ns",
  f."_mlp_last" AS "around_last_t_ns"
FROM "with_qcom" AS l
LEFT JOIN "_mlp_found" AS f
  ON l."log_id" = f."log_id"
  AND (
    (
      (
        l."t_ns" - 25000000
      )
    ) // 50000001 - CASE WHEN (
      (
        l."t_ns" - 25000000
      )
    ) % 50000001 < 0 THEN 1 ELSE 0 END
  ) = f."_mlp_bucket"
  AND l."t_ns" = f."_mlp_time"
WHERE
  CASE
    WHEN l."t_ns" < (
      -9223372036829775808
    ) OR l."t_ns" > 9223372036829775807
    THEN CAST(ERROR(
      'mlplatform-row<E_OVERFLOW|a window leaves the range of a bigint|filter times that are none, or make the window shorter|' || 't_ns = ' || COALESCE(CAST(l."t_ns" AS TEXT), '~') || '>mlplatform-row'
    ) AS BOOLEAN)
    ELSE TRUE
  END;
