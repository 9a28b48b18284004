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

CREATE TABLE "stays" AS
SELECT
  "tailnum",
  "session_id",
  "start_ts",
  "end_ts",
  "last_planned_at",
  "session_idx",
  "n_rows"
FROM "stays";

CREATE TABLE "hourly" AS
SELECT
  "origin",
  "time_hour",
  "departures",
  "mean_delay_min"
FROM "hourly";

-- output mined.aircraft_stays
SELECT
  "tailnum",
  "session_id",
  "start_ts",
  "end_ts",
  "last_planned_at",
  "session_idx",
  "n_rows"
FROM "stays";

-- output mined.aircraft_turnarounds
SELECT
  tailnum,
  session_id AS "stay",
  start_ts,
  n_rows AS "departures",
  (
    EPOCH_US(last_planned_at) - EPOCH_US(start_ts)
  ) / 60000000.0 / (
    n_rows - 1
  ) AS "mean_turnaround_min"
FROM "stays"
WHERE
  n_rows > 1;

-- output mined.delay_bursts
WITH "bursts" AS (
  WITH _mlp_samples_all AS (
    SELECT
      "origin",
      EPOCH_US("time_hour") AS "_mlp_time",
      CASE
        WHEN (
          CASE
            WHEN NOT NOT (
              ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
            )
            THEN mean_delay_min
          END < 30
        )
        THEN 0
        WHEN (
          (
            CASE
              WHEN NOT NOT (
                ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
              )
              THEN mean_delay_min
            END < 30
          ) IS NULL
        )
        THEN NULL
        WHEN (
          CASE
            WHEN NOT NOT (
              ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
            )
            THEN mean_delay_min
          END >= 60
        )
        THEN 1
        WHEN NOT (
          CASE
            WHEN NOT NOT (
              ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
            )
            THEN mean_delay_min
          END >= 60
        )
        THEN 2
      END AS "_mlp_said",
      CAST((
        CASE
          WHEN NOT NOT (
            ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
          )
          THEN mean_delay_min
        END
      ) AS DOUBLE) + CAST(0 AS DOUBLE) AS "_mlp_peak"
    FROM "hourly"
    WHERE
      NOT "origin" IS NULL AND NOT "time_hour" IS NULL
  ), _mlp_all_timed AS (
    SELECT
      *,
      LAG("_mlp_time") OVER (PARTITION BY "origin" ORDER BY "_mlp_time" ASC NULLS FIRST) AS "_mlp_before"
    FROM "_mlp_samples_all"
  ), _mlp_all_codes AS (
    SELECT
      *,
      CASE
        WHEN "_mlp_said" IN (0, 1)
        THEN "_mlp_said"
        WHEN (
          "_mlp_said" IS NULL
        )
        THEN 3
        WHEN NOT (
          COALESCE((
            "_mlp_time" - "_mlp_before" <= 3600000000
          ), FALSE)
        )
        THEN 0
      END AS "_mlp_state"
    FROM "_mlp_all_timed"
  ), _mlp_all_known AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_said",
      "_mlp_peak",
      LAST_VALUE("_mlp_state" IGNORE NULLS) OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS "_mlp_state"
    FROM "_mlp_all_codes"
  ), _mlp_all_states AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_said",
      "_mlp_peak",
      CASE WHEN (
        "_mlp_said" IS NULL
      ) THEN NULL WHEN "_mlp_state" = 1 THEN 1 ELSE 0 END AS "_mlp_state"
    FROM "_mlp_all_known"
  ), _mlp_all_seen AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_said",
      "_mlp_peak",
      "_mlp_state",
      LAG("_mlp_time") OVER (PARTITION BY "origin" ORDER BY "_mlp_time" ASC NULLS FIRST) AS "_mlp_before",
      LAG("_mlp_state") OVER (PARTITION BY "origin" ORDER BY "_mlp_time" ASC NULLS FIRST) AS "_mlp_before_state",
      LEAD("_mlp_time") OVER (PARTITION BY "origin" ORDER BY "_mlp_time" ASC NULLS FIRST) AS "_mlp_after",
      LEAD("_mlp_state") OVER (PARTITION BY "origin" ORDER BY "_mlp_time" ASC NULLS FIRST) AS "_mlp_after_state",
      LAG("_mlp_said") OVER (PARTITION BY "origin" ORDER BY "_mlp_time" ASC NULLS FIRST) AS "_mlp_before_said"
    FROM "_mlp_all_states"
  ), _mlp_all_marked AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_said",
      "_mlp_peak",
      "_mlp_state",
      NOT (
        COALESCE((
          "_mlp_time" - "_mlp_before" <= 3600000000
        ), FALSE)
        AND "_mlp_before_state" IS NOT DISTINCT FROM "_mlp_state"
      ) AS "_mlp_begins",
      CASE
        WHEN COALESCE((
          "_mlp_after" - "_mlp_time" <= 3600000000
        ), FALSE)
        THEN "_mlp_after"
        ELSE "_mlp_time" + 1
      END AS "_mlp_end",
      NOT (
        COALESCE((
          "_mlp_time" - "_mlp_before" <= 3600000000
        ), FALSE)
        AND "_mlp_before_state" IS NOT DISTINCT FROM "_mlp_state"
      )
      AND COALESCE((
        "_mlp_time" - "_mlp_before" <= 3600000000
      ), FALSE)
      AND NOT (
        "_mlp_before_state" IS NULL
      ) AS "_mlp_closed_start",
      COALESCE((
        "_mlp_after" - "_mlp_time" <= 3600000000
      ), FALSE)
      AND "_mlp_after_state" IS DISTINCT FROM "_mlp_state"
      AND NOT (
        "_mlp_after_state" IS NULL
      ) AS "_mlp_closed_end",
      "_mlp_time" IS NOT DISTINCT FROM "_mlp_before"
      AND "_mlp_said" IS DISTINCT FROM "_mlp_before_said" AS "_mlp_mixed"
    FROM "_mlp_all_seen"
  ), _mlp_all_numbered AS (
    SELECT
      *,
      CAST(SUM(CASE WHEN "_mlp_begins" THEN 1 ELSE 0 END) OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS BIGINT) AS "_mlp_run"
    FROM "_mlp_all_marked"
    WHERE
      "_mlp_state" = 1 OR "_mlp_mixed"
  ), _mlp_all_runs AS (
    SELECT
      "origin",
      "_mlp_run",
      MIN("_mlp_time") AS "_mlp_start",
      MAX("_mlp_end") AS "_mlp_end",
      MAX("_mlp_state") AS "_mlp_state",
      COUNT(*) AS "_mlp_samples",
      COUNT(*) - COUNT("_mlp_said") AS "_mlp_unknown",
      COALESCE(BOOL_OR(CAST("_mlp_closed_start" AS BOOLEAN)), FALSE) AS "_mlp_closed_start",
      COALESCE(BOOL_OR(CAST("_mlp_closed_end" AS BOOLEAN)), FALSE) AS "_mlp_closed_end",
      MAX("_mlp_peak") AS "_mlp_peak",
      FIRST("_mlp_time" ORDER BY "_mlp_peak" DESC, "_mlp_time" ASC NULLS FIRST) FILTER(WHERE
        NOT (
          "_mlp_peak" IS NULL
        )) AS "_mlp_peak_at",
      COALESCE(BOOL_OR(CAST("_mlp_mixed" AS BOOLEAN)), FALSE) AS "_mlp_mixed"
    FROM "_mlp_all_numbered"
    GROUP BY
      "origin",
      "_mlp_run"
  ), _mlp_mixed_keys AS (
    SELECT DISTINCT
      "origin"
    FROM "_mlp_all_runs"
    WHERE
      "_mlp_mixed"
  ), _mlp_again AS (
    SELECT
      i."origin",
      i."time_hour",
      i."departures",
      i."mean_delay_min"
    FROM "hourly" AS i
    SEMI JOIN "_mlp_mixed_keys" AS _mlp_d
      ON i."origin" = _mlp_d."origin"
  ), _mlp_eligible AS NOT MATERIALIZED (
    SELECT
      "origin",
      "time_hour",
      "departures",
      "mean_delay_min",
      EPOCH_US("time_hour") AS "_mlp_time",
      CASE
        WHEN (
          CASE
            WHEN NOT NOT (
              ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
            )
            THEN mean_delay_min
          END < 30
        )
        THEN 0
        WHEN (
          (
            CASE
              WHEN NOT NOT (
                ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
              )
              THEN mean_delay_min
            END < 30
          ) IS NULL
        )
        THEN NULL
        WHEN (
          CASE
            WHEN NOT NOT (
              ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
            )
            THEN mean_delay_min
          END >= 60
        )
        THEN 1
        WHEN NOT (
          CASE
            WHEN NOT NOT (
              ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
            )
            THEN mean_delay_min
          END >= 60
        )
        THEN 2
      END AS "_mlp_said",
      CAST((
        CASE
          WHEN NOT NOT (
            ISFINITE(mean_delay_min) OR ISINF(mean_delay_min)
          )
          THEN mean_delay_min
        END
      ) AS DOUBLE) + CAST(0 AS DOUBLE) AS "_mlp_peak"
    FROM "_mlp_again"
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
  ), _mlp_rows AS (
    SELECT
      e."origin",
      e."time_hour",
      e."departures",
      e."mean_delay_min",
      e."_mlp_time",
      e."_mlp_said",
      e."_mlp_peak",
      CAST(NULL AS TEXT) AS "_mlp_tie"
    FROM "_mlp_eligible" AS e
    ANTI JOIN "_mlp_repeated" AS _mlp_d
      ON e."origin" IS NOT DISTINCT FROM _mlp_d."origin"
      AND e."_mlp_time" IS NOT DISTINCT FROM _mlp_d."_mlp_time"
    UNION ALL
    SELECT
      e."origin",
      e."time_hour",
      e."departures",
      e."mean_delay_min",
      e."_mlp_time",
      e."_mlp_said",
      e."_mlp_peak",
      SHA256(
        'departures=' || COALESCE(CAST(e."departures" AS TEXT), '~') || '|' || 'mean_delay_min=' || COALESCE(
          CASE
            WHEN NOT (
              ISFINITE(e."mean_delay_min") OR ISINF(e."mean_delay_min")
            )
            THEN '7ff8000000000000'
            ELSE PRINTF(
              '%016x',
              CAST(CAST((
                CAST(e."mean_delay_min" AS DOUBLE) + CAST(0 AS DOUBLE)
              ) AS BIT) AS UBIGINT)
            )
          END,
          '~'
        ) || '|' || 'origin=' || COALESCE(
          CASE
            WHEN STARTS_WITH(e."origin", '~')
            THEN '\' || REPLACE(REPLACE(e."origin", '\', '\\'), '|', '\|')
            ELSE REPLACE(REPLACE(e."origin", '\', '\\'), '|', '\|')
          END,
          '~'
        ) || '|' || 'time_hour=' || COALESCE(CAST(EPOCH_US(e."time_hour") AS TEXT), '~')
      ) AS "_mlp_tie"
    FROM "_mlp_eligible" AS e
    SEMI JOIN "_mlp_repeated" AS _mlp_d
      ON e."origin" IS NOT DISTINCT FROM _mlp_d."origin"
      AND e."_mlp_time" IS NOT DISTINCT FROM _mlp_d."_mlp_time"
  ), _mlp_tied_timed AS (
    SELECT
      *,
      LAG("_mlp_time") OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST, "_mlp_tie" ASC NULLS FIRST
      ) AS "_mlp_before"
    FROM "_mlp_rows"
  ), _mlp_tied_codes AS (
    SELECT
      *,
      CASE
        WHEN "_mlp_said" IN (0, 1)
        THEN "_mlp_said"
        WHEN (
          "_mlp_said" IS NULL
        )
        THEN 3
        WHEN NOT (
          COALESCE((
            "_mlp_time" - "_mlp_before" <= 3600000000
          ), FALSE)
        )
        THEN 0
      END AS "_mlp_state"
    FROM "_mlp_tied_timed"
  ), _mlp_tied_known AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_tie",
      "_mlp_said",
      "_mlp_peak",
      LAST_VALUE("_mlp_state" IGNORE NULLS) OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST, "_mlp_tie" ASC NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS "_mlp_state"
    FROM "_mlp_tied_codes"
  ), _mlp_tied_states AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_tie",
      "_mlp_said",
      "_mlp_peak",
      CASE WHEN (
        "_mlp_said" IS NULL
      ) THEN NULL WHEN "_mlp_state" = 1 THEN 1 ELSE 0 END AS "_mlp_state"
    FROM "_mlp_tied_known"
  ), _mlp_tied_seen AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_tie",
      "_mlp_said",
      "_mlp_peak",
      "_mlp_state",
      LAG("_mlp_time") OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST, "_mlp_tie" ASC NULLS FIRST
      ) AS "_mlp_before",
      LAG("_mlp_state") OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST, "_mlp_tie" ASC NULLS FIRST
      ) AS "_mlp_before_state",
      LEAD("_mlp_time") OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST, "_mlp_tie" ASC NULLS FIRST
      ) AS "_mlp_after",
      LEAD("_mlp_state") OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST, "_mlp_tie" ASC NULLS FIRST
      ) AS "_mlp_after_state"
    FROM "_mlp_tied_states"
  ), _mlp_tied_marked AS (
    SELECT
      "origin",
      "_mlp_time",
      "_mlp_tie",
      "_mlp_said",
      "_mlp_peak",
      "_mlp_state",
      NOT (
        COALESCE((
          "_mlp_time" - "_mlp_before" <= 3600000000
        ), FALSE)
        AND "_mlp_before_state" IS NOT DISTINCT FROM "_mlp_state"
      ) AS "_mlp_begins",
      CASE
        WHEN COALESCE((
          "_mlp_after" - "_mlp_time" <= 3600000000
        ), FALSE)
        THEN "_mlp_after"
        ELSE "_mlp_time" + 1
      END AS "_mlp_end",
      NOT (
        COALESCE((
          "_mlp_time" - "_mlp_before" <= 3600000000
        ), FALSE)
        AND "_mlp_before_state" IS NOT DISTINCT FROM "_mlp_state"
      )
      AND COALESCE((
        "_mlp_time" - "_mlp_before" <= 3600000000
      ), FALSE)
      AND NOT (
        "_mlp_before_state" IS NULL
      ) AS "_mlp_closed_start",
      COALESCE((
        "_mlp_after" - "_mlp_time" <= 3600000000
      ), FALSE)
      AND "_mlp_after_state" IS DISTINCT FROM "_mlp_state"
      AND NOT (
        "_mlp_after_state" IS NULL
      ) AS "_mlp_closed_end"
    FROM "_mlp_tied_seen"
  ), _mlp_tied_numbered AS (
    SELECT
      *,
      CAST(SUM(CASE WHEN "_mlp_begins" THEN 1 ELSE 0 END) OVER (
        PARTITION BY "origin"
        ORDER BY "_mlp_time" ASC NULLS FIRST, "_mlp_tie" ASC NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS BIGINT) AS "_mlp_run"
    FROM "_mlp_tied_marked"
    WHERE
      "_mlp_state" = 1
  ), _mlp_tied_runs AS (
    SELECT
      "origin",
      "_mlp_run",
      MIN("_mlp_time") AS "_mlp_start",
      MAX("_mlp_end") AS "_mlp_end",
      MAX("_mlp_state") AS "_mlp_state",
      COUNT(*) AS "_mlp_samples",
      COUNT(*) - COUNT("_mlp_said") AS "_mlp_unknown",
      COALESCE(BOOL_OR(CAST("_mlp_closed_start" AS BOOLEAN)), FALSE) AS "_mlp_closed_start",
      COALESCE(BOOL_OR(CAST("_mlp_closed_end" AS BOOLEAN)), FALSE) AS "_mlp_closed_end",
      MAX("_mlp_peak") AS "_mlp_peak",
      FIRST("_mlp_time" ORDER BY "_mlp_peak" DESC, "_mlp_time" ASC NULLS FIRST) FILTER(WHERE
        NOT (
          "_mlp_peak" IS NULL
        )) AS "_mlp_peak_at"
    FROM "_mlp_tied_numbered"
    GROUP BY
      "origin",
      "_mlp_run"
  ), _mlp_found AS (
    SELECT
      f."origin",
      f."_mlp_start",
      f."_mlp_end",
      f."_mlp_state",
      f."_mlp_samples",
      f."_mlp_unknown",
      f."_mlp_peak",
      f."_mlp_peak_at",
      f."_mlp_closed_start",
      f."_mlp_closed_end"
    FROM "_mlp_all_runs" AS f
    ANTI JOIN "_mlp_mixed_keys" AS _mlp_d
      ON f."origin" = _mlp_d."origin"
    UNION ALL
    SELECT
      "origin",
      "_mlp_start",
      "_mlp_end",
      "_mlp_state",
      "_mlp_samples",
      "_mlp_unknown",
      "_mlp_peak",
      "_mlp_peak_at",
      "_mlp_closed_start",
      "_mlp_closed_end"
    FROM "_mlp_tied_runs"
  )
  SELECT
    "origin",
    CAST(MAKE_TIMESTAMP("_mlp_start") AS TIMESTAMPTZ) AS "start_ts",
    CAST(MAKE_TIMESTAMP("_mlp_end") AS TIMESTAMPTZ) AS "end_ts",
    LEFT(
      SHA256(
        COALESCE(
          CASE
            WHEN STARTS_WITH('delay_burst', '~')
            THEN '\' || REPLACE(REPLACE('delay_burst', '\', '\\'), '|', '\|')
            ELSE REPLACE(REPLACE('delay_burst', '\', '\\'), '|', '\|')
          END,
          '~'
        ) || '|' || COALESCE(CAST(1 AS TEXT), '~') || '|' || COALESCE(
          CASE
            WHEN STARTS_WITH("origin", '~')
            THEN '\' || REPLACE(REPLACE("origin", '\', '\\'), '|', '\|')
            ELSE REPLACE(REPLACE("origin", '\', '\\'), '|', '\|')
          END,
          '~'
        ) || '|' || COALESCE(CAST("_mlp_start" AS TEXT), '~') || '|' || COALESCE(CAST("_mlp_end" AS TEXT), '~')
      ),
      32
    ) AS "event_id",
    'delay_burst' AS "kind",
    "_mlp_samples" AS "n_samples",
    "_mlp_unknown" AS "n_null",
    "_mlp_peak" AS "peak",
    CAST(MAKE_TIMESTAMP("_mlp_peak_at") AS TIMESTAMPTZ) AS "t_peak_ts",
    NOT "_mlp_closed_start" AS "truncated_start",
    NOT "_mlp_closed_end" AS "truncated_end"
  FROM "_mlp_found"
  WHERE
    "_mlp_state" = 1 AND (
      "_mlp_end" - "_mlp_start"
    ) >= 10800000000
), "sky" AS (
  SELECT
    origin,
    time_hour,
    temp,
    wind_speed,
    precip,
    visib
  FROM "weather"
), "bursts_in_weather" AS (
  WITH _mlp_eligible AS NOT MATERIALIZED (
    SELECT
      "origin",
      "time_hour",
      "temp",
      "wind_speed",
      "precip",
      "visib",
      EPOCH_US("time_hour") AS "_mlp_time"
    FROM "sky"
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
    l."origin",
    l."start_ts",
    l."end_ts",
    l."event_id",
    l."kind",
    l."n_samples",
    l."n_null",
    l."peak",
    l."t_peak_ts",
    l."truncated_start",
    l."truncated_end",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."start_ts")
        )) <= 3600000000
      ), FALSE)
      THEN r."temp"
    END AS "temp",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."start_ts")
        )) <= 3600000000
      ), FALSE)
      THEN r."wind_speed"
    END AS "wind_speed",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."start_ts")
        )) <= 3600000000
      ), FALSE)
      THEN r."precip"
    END AS "precip",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."start_ts")
        )) <= 3600000000
      ), FALSE)
      THEN r."visib"
    END AS "visib",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."start_ts")
        )) <= 3600000000
      ), FALSE)
      THEN r."time_hour"
    END AS "weather_time_hour",
    CASE
      WHEN COALESCE((
        ABS((
          r."_mlp_time" - EPOCH_US(l."start_ts")
        )) <= 3600000000
      ), FALSE)
      THEN (
        r."_mlp_time" - EPOCH_US(l."start_ts")
      ) * 1000
    END AS "weather_delta_ns",
    COALESCE((
      ABS((
        r."_mlp_time" - EPOCH_US(l."start_ts")
      )) <= 3600000000
    ), FALSE) AS "weather_matched"
  FROM "bursts" AS l
  ASOF LEFT JOIN "_mlp_right" AS r
    ON l."origin" = r."origin" AND EPOCH_US(l."start_ts") >= r."_mlp_time"
)
SELECT
  "origin",
  "start_ts",
  "end_ts",
  "event_id",
  "kind",
  "n_samples",
  "n_null",
  "peak",
  "t_peak_ts",
  "truncated_start",
  "truncated_end",
  "temp",
  "wind_speed",
  "precip",
  "visib",
  "weather_time_hour",
  "weather_delta_ns",
  "weather_matched"
FROM "bursts_in_weather";
