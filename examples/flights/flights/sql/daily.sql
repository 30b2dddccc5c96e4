-- For each airport and day of UTC what the weather was. Makes the table `result` of `given`, which has whole days.
CREATE TABLE result AS
SELECT
  origin,
  CAST(observed_hour AS DATE) AS day,
  count(*) AS hours,
  avg(temp_c) AS mean_temp_c,
  min(temp_c) AS least_temp_c,
  max(temp_c) AS greatest_temp_c,
  max(wind_speed_ms) AS strongest_wind_ms,
  sum(precipitation_mm) AS precipitation_mm
FROM given
GROUP BY origin, day
ORDER BY origin, day;
