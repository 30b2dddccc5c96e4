-- The ranking of all given periods together, from the sums and counts of the rankings of each.
-- $files: Parquet of carriers or of airports; the first column is the code. Returns one row for each, worst first.
SELECT
  row_number() OVER (ORDER BY sum(arr_delay_minutes) / nullif(sum(arrived), 0) DESC NULLS LAST, code) AS rank,
  code,
  any_value(name) AS name,
  sum(flights)::BIGINT AS flights,
  sum(dep_delay_minutes) / nullif(sum(departed), 0) AS mean_dep_delay,
  sum(arr_delay_minutes) / nullif(sum(arrived), 0) AS mean_arr_delay,
  sum(late) / nullif(sum(arrived), 0) AS share_late
FROM read_parquet($files) AS ranks (code)
GROUP BY code
ORDER BY rank;
