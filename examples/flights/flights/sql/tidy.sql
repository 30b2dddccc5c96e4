-- Observations in metric units. Makes the table `result` of `given`.
CREATE TABLE result AS
SELECT
  origin,
  observed_hour,
  (temp_f - 32) * 5 / 9 AS temp_c,
  wind_speed_mph * 0.44704 AS wind_speed_ms,
  precipitation_in * 25.4 AS precipitation_mm,
  pressure_mb AS pressure_hpa
FROM given
ORDER BY origin, observed_hour;
