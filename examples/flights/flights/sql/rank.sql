-- Carriers and destination airports of one period, most delayed on arrival first.
-- Reads the table `flights` and the variable late_after (minutes). Makes the tables `carriers` and `airports`.
--
-- Beside the means are the sums and counts that they were made of, so that means of longer periods can be had from the
-- rankings of shorter ones: a mean of means would give a quiet month the weight of a busy one.
CREATE MACRO ranking(key, label) AS TABLE
WITH totals AS (
  SELECT
    key AS code,
    any_value(label) AS name,
    count(*) AS flights,
    count(dep_delay) AS departed,
    count(arr_delay) AS arrived,
    count(*) FILTER (arr_delay > getvariable('late_after')) AS late,
    coalesce(sum(dep_delay), 0) AS dep_delay_minutes,
    coalesce(sum(arr_delay), 0) AS arr_delay_minutes
  FROM flights
  GROUP BY ALL
), means AS (
  SELECT
    *,
    dep_delay_minutes / nullif(departed, 0) AS mean_dep_delay,
    arr_delay_minutes / nullif(arrived, 0) AS mean_arr_delay,
    late / nullif(arrived, 0) AS share_late
  FROM totals
)
SELECT *, row_number() OVER (ORDER BY mean_arr_delay DESC NULLS LAST, code) AS rank
FROM means;

CREATE TABLE carriers AS SELECT code AS carrier, * EXCLUDE (code) FROM ranking(carrier, airline) ORDER BY rank;
CREATE TABLE airports AS SELECT code AS dest, * EXCLUDE (code) FROM ranking(dest, dest_name) ORDER BY rank;
