CREATE VIEW "can_speed" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS BIGINT) AS "t_ns",
  CAST(NULL AS BIGINT) AS "seq",
  CAST(NULL AS DOUBLE) AS "speed_mps"
WHERE
  FALSE;

CREATE VIEW "coverage" AS
SELECT
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS TEXT) AS "topic",
  CAST(NULL AS BIGINT) AS "start_ns",
  CAST(NULL AS BIGINT) AS "end_ns"
WHERE
  FALSE;

CREATE VIEW "truth" AS
SELECT
  CAST(NULL AS TEXT) AS "event_id",
  CAST(NULL AS TEXT) AS "log_id",
  CAST(NULL AS TEXT) AS "kind",
  CAST(NULL AS TEXT) AS "scene"
WHERE
  FALSE;

CREATE TABLE "moving" AS
SELECT
  "log_id",
  "t_ns",
  "speed_mps",
  "a_mps2"
FROM "moving";

CREATE TABLE "braking" AS
SELECT
  "log_id",
  "start_ns",
  "end_ns",
  "event_id",
  "kind",
  "n_samples",
  "n_null",
  "peak",
  "t_peak_ns",
  "truncated_start",
  "truncated_end"
FROM "braking";

-- output mined.hard_brakes
SELECT
  "log_id",
  "start_ns",
  "end_ns",
  "event_id",
  "kind",
  "n_samples",
  "n_null",
  "peak",
  "t_peak_ns",
  "truncated_start",
  "truncated_end"
FROM "braking";

-- output mined.brake_clips
WITH "covered" AS (
  SELECT
    "log_id",
    "topic",
    "start_ns",
    "end_ns"
  FROM "coverage"
  WHERE
    topic = 'can_speed'
), "clips" AS (
  WITH _mlp_checks AS (
    SELECT
      COALESCE(BOOL_AND(CAST("_mlp_ok" AS BOOLEAN)), TRUE) AS "_mlp_ok"
    FROM (
      SELECT
        CASE
          WHEN "end_ns" < "start_ns"
          THEN CAST(ERROR(
            'mlplatform-row<E_INTERVAL_NEGATIVE|an interval of "braking" ends before it starts|filter such rows, or swap their bounds, in the step before|' || 'log_id = ' || COALESCE(
              CASE
                WHEN STARTS_WITH("log_id", '~')
                THEN '\' || REPLACE(REPLACE("log_id", '\', '\\'), '|', '\|')
                ELSE REPLACE(REPLACE("log_id", '\', '\\'), '|', '\|')
              END,
              '~'
            ) || ', start_ns = ' || COALESCE(CAST("start_ns" AS TEXT), '~') || ', end_ns = ' || COALESCE(CAST("end_ns" AS TEXT), '~') || '>mlplatform-row'
          ) AS BOOLEAN)
          ELSE TRUE
        END AS "_mlp_ok"
      FROM "braking"
      WHERE
        NOT "log_id" IS NULL AND NOT "start_ns" IS NULL AND NOT "end_ns" IS NULL
      UNION ALL
      SELECT
        CASE
          WHEN "end_ns" < "start_ns"
          THEN CAST(ERROR(
            'mlplatform-row<E_INTERVAL_NEGATIVE|an interval of "covered" ends before it starts|filter such rows, or swap their bounds, in the step before|' || 'log_id = ' || COALESCE(
              CASE
                WHEN STARTS_WITH("log_id", '~')
                THEN '\' || REPLACE(REPLACE("log_id", '\', '\\'), '|', '\|')
                ELSE REPLACE(REPLACE("log_id", '\', '\\'), '|', '\|')
              END,
              '~'
            ) || ', start_ns = ' || COALESCE(CAST("start_ns" AS TEXT), '~') || ', end_ns = ' || COALESCE(CAST("end_ns" AS TEXT), '~') || '>mlplatform-row'
          ) AS BOOLEAN)
          ELSE TRUE
        END AS "_mlp_ok"
      FROM "covered"
      WHERE
        NOT "log_id" IS NULL AND NOT "start_ns" IS NULL AND NOT "end_ns" IS NULL
    ) AS checks
  ), _mlp_events AS (
    SELECT
      "log_id",
      "kind" AS "_mlp_kind",
      "event_id" AS "_mlp_event",
      "start_ns" AS "_mlp_start",
      "end_ns" AS "_mlp_end"
    FROM "braking"
    CROSS JOIN "_mlp_checks" AS ok
    WHERE
      (
        NOT "log_id" IS NULL AND NOT "start_ns" IS NULL AND NOT "end_ns" IS NULL
      )
      AND ok."_mlp_ok"
  ), _mlp_wide AS (
    SELECT
      "log_id",
      "_mlp_kind",
      "_mlp_event",
      "_mlp_start" - 3000000000 AS "_mlp_start",
      "_mlp_end" + 5000000000 AS "_mlp_end"
    FROM "_mlp_events"
  ), _mlp_covered AS (
    SELECT
      "log_id",
      COALESCE("topic", '*') AS "_mlp_topic",
      "start_ns" AS "_mlp_start",
      "end_ns" AS "_mlp_end"
    FROM "covered"
    WHERE
      NOT "log_id" IS NULL
      AND NOT "start_ns" IS NULL
      AND NOT "end_ns" IS NULL
      AND "start_ns" < "end_ns"
  ), _mlp_logs AS (
    SELECT
      "log_id",
      MIN("_mlp_start") AS "_mlp_start",
      MAX("_mlp_end") AS "_mlp_end"
    FROM "_mlp_covered"
    GROUP BY
      "log_id"
  ), _mlp_clipped AS (
    SELECT
      w."log_id",
      w."_mlp_kind",
      w."_mlp_event",
      GREATEST(w."_mlp_start" - 0, l."_mlp_start") AS "_mlp_start",
      LEAST(w."_mlp_end" + 0, l."_mlp_end") AS "_mlp_end",
      COALESCE((
        w."_mlp_start" < l."_mlp_start"
      ), TRUE) AS "_mlp_cut_start",
      COALESCE((
        w."_mlp_end" > l."_mlp_end"
      ), TRUE) AS "_mlp_cut_end",
      NOT l."_mlp_start" IS NULL AS "_mlp_is_covered"
    FROM "_mlp_wide" AS w
    LEFT JOIN "_mlp_logs" AS l
      ON w."log_id" = l."log_id"
    WHERE
      w."_mlp_start" < w."_mlp_end"
      AND COALESCE((
        w."_mlp_start" < l."_mlp_end" AND w."_mlp_end" > l."_mlp_start"
      ), TRUE)
  ), _mlp_seen AS (
    SELECT
      "log_id",
      "_mlp_kind",
      "_mlp_event",
      "_mlp_start",
      "_mlp_end",
      "_mlp_cut_start",
      "_mlp_cut_end",
      "_mlp_is_covered",
      MAX("_mlp_end") OVER (
        PARTITION BY "log_id", "_mlp_kind"
        ORDER BY "_mlp_start" ASC NULLS FIRST, "_mlp_end" ASC NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ) AS "_mlp_before"
    FROM "_mlp_clipped"
  ), _mlp_numbered AS (
    SELECT
      "log_id",
      "_mlp_kind",
      "_mlp_event",
      "_mlp_start",
      "_mlp_end",
      "_mlp_cut_start",
      "_mlp_cut_end",
      "_mlp_is_covered",
      CAST(SUM(
        CASE
          WHEN "_mlp_before" IS NULL OR (
            "_mlp_start" - "_mlp_before"
          ) > 0
          THEN 1
          ELSE 0
        END
      ) OVER (
        PARTITION BY "log_id", "_mlp_kind"
        ORDER BY "_mlp_start" ASC NULLS FIRST, "_mlp_end" ASC NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS BIGINT) AS "_mlp_number"
    FROM "_mlp_seen"
  ), _mlp_merged AS (
    SELECT
      "log_id",
      "_mlp_kind",
      MIN("_mlp_start") AS "_mlp_start",
      MAX("_mlp_end") AS "_mlp_end",
      ARRAY_AGG("_mlp_event" ORDER BY "_mlp_event" ASC NULLS FIRST) AS "_mlp_events",
      BOOL_OR(CAST("_mlp_cut_start" AS BOOLEAN)) AS "_mlp_cut_start",
      BOOL_OR(CAST("_mlp_cut_end" AS BOOLEAN)) AS "_mlp_cut_end",
      BOOL_OR(CAST("_mlp_is_covered" AS BOOLEAN)) AS "_mlp_is_covered"
    FROM "_mlp_numbered"
    GROUP BY
      "log_id",
      "_mlp_kind",
      "_mlp_number"
  ), _mlp_clips AS (
    SELECT
      "log_id",
      "_mlp_kind",
      "_mlp_events",
      "_mlp_is_covered",
      "_mlp_start",
      "_mlp_end",
      CAST(0 AS BIGINT) AS "_mlp_part",
      "_mlp_cut_start",
      "_mlp_cut_end"
    FROM "_mlp_merged"
  ), _mlp_topics AS (
    SELECT
      "log_id",
      "_mlp_topic",
      GREATEST(
        "_mlp_start",
        MAX("_mlp_end") OVER (
          PARTITION BY "log_id", "_mlp_topic"
          ORDER BY "_mlp_start" ASC NULLS FIRST, "_mlp_end" ASC NULLS FIRST
          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
      ) AS "_mlp_start",
      "_mlp_end"
    FROM "_mlp_covered"
  ), _mlp_bounds AS (
    SELECT DISTINCT
      "log_id",
      "_mlp_start",
      "_mlp_end"
    FROM "_mlp_clips"
  ), _mlp_sums AS (
    SELECT
      c."log_id",
      c."_mlp_start",
      c."_mlp_end",
      t."_mlp_topic",
      CAST(SUM(
        GREATEST(LEAST(t."_mlp_end", c."_mlp_end") - GREATEST(t."_mlp_start", c."_mlp_start"), 0)
      ) AS BIGINT) AS "_mlp_sum"
    FROM "_mlp_bounds" AS c
    JOIN "_mlp_topics" AS t
      ON c."log_id" = t."log_id"
    GROUP BY
      c."log_id",
      c."_mlp_start",
      c."_mlp_end",
      t."_mlp_topic"
  ), _mlp_cover AS (
    SELECT
      "log_id",
      "_mlp_start",
      "_mlp_end",
      ARRAY_AGG(
        {'topic': "_mlp_topic", 'ratio': CAST("_mlp_sum" AS DOUBLE) / CAST((
          "_mlp_end" - "_mlp_start"
        ) AS DOUBLE)} ORDER BY "_mlp_topic" ASC NULLS FIRST
      ) AS "_mlp_coverage"
    FROM "_mlp_sums"
    GROUP BY
      "log_id",
      "_mlp_start",
      "_mlp_end"
  )
  SELECT
    LEFT(
      SHA256(
        COALESCE(
          CASE
            WHEN STARTS_WITH(c."_mlp_kind", '~')
            THEN '\' || REPLACE(REPLACE(c."_mlp_kind", '\', '\\'), '|', '\|')
            ELSE REPLACE(REPLACE(c."_mlp_kind", '\', '\\'), '|', '\|')
          END,
          '~'
        ) || '|' || COALESCE(CAST(1 AS TEXT), '~') || '|' || COALESCE(
          CASE
            WHEN STARTS_WITH(c."log_id", '~')
            THEN '\' || REPLACE(REPLACE(c."log_id", '\', '\\'), '|', '\|')
            ELSE REPLACE(REPLACE(c."log_id", '\', '\\'), '|', '\|')
          END,
          '~'
        ) || '|' || COALESCE(CAST(c."_mlp_start" AS TEXT), '~') || '|' || COALESCE(CAST(c."_mlp_end" AS TEXT), '~') || '|' || COALESCE(
          '[' || ARRAY_TO_STRING(
            LIST_TRANSFORM(
              c."_mlp_events",
              LAMBDA x : COALESCE(
                CASE
                  WHEN STARTS_WITH(x, '~')
                  THEN '\' || REPLACE(REPLACE(x, '\', '\\'), '|', '\|')
                  ELSE REPLACE(REPLACE(x, '\', '\\'), '|', '\|')
                END,
                '~'
              )
            ),
            '|'
          ) || ']',
          '~'
        )
      ),
      32
    ) AS "clip_id",
    c."log_id",
    c."_mlp_kind" AS "kind",
    c."_mlp_start" AS "start_ns",
    c."_mlp_end" AS "end_ns",
    c."_mlp_events" AS "event_ids",
    c."_mlp_part" AS "part",
    c."_mlp_cut_start" AS "truncated_start",
    c."_mlp_cut_end" AS "truncated_end",
    c."_mlp_is_covered" AND NOT (
      c."_mlp_cut_end"
    ) AS "complete",
    COALESCE(r."_mlp_coverage", CAST([] AS STRUCT("topic" TEXT, "ratio" DOUBLE)[])) AS "coverage"
  FROM "_mlp_clips" AS c
  LEFT JOIN "_mlp_cover" AS r
    ON c."log_id" = r."log_id"
    AND c."_mlp_start" = r."_mlp_start"
    AND c."_mlp_end" = r."_mlp_end"
)
SELECT
  "clip_id",
  "log_id",
  "kind",
  "start_ns",
  "end_ns",
  "event_ids",
  "part",
  "truncated_start",
  "truncated_end",
  "complete",
  "coverage"
FROM "clips";

-- output mined.brake_score
WITH "judged" AS (
  SELECT
    COALESCE(t.scene, 'not planted') AS scene,
    COALESCE(t.kind = 'hard_brake', FALSE) AS is_planted,
    NOT m.event_id IS NULL AS is_mined
  FROM truth AS t
  FULL JOIN braking AS m
    ON t.event_id = m.event_id
), "by_scene" AS (
  SELECT
    scene,
    COUNT(*) FILTER(WHERE
      is_planted) AS "planted",
    COUNT(*) FILTER(WHERE
      is_mined) AS "mined",
    COUNT(*) FILTER(WHERE
      is_planted AND is_mined) AS "found"
  FROM "judged"
  GROUP BY
    scene
)
SELECT
  "scene",
  "planted",
  "mined",
  "found"
FROM "by_scene";
