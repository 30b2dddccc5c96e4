-- The hourly weather of one period at the three origins: typed, NA as NULL, one row for each airport and hour.
-- $weather: CSV of the year; $y, $m and $d: the period (no $d: the whole month). Makes the table `result`.
--
-- The file's year, month, day and hour are local, and the hour that the clock repeats in autumn is there twice; its
-- time_hour is the instant and tells the two apart.
CREATE TABLE result AS
SELECT DISTINCT ON (origin, time_hour)
  origin,
  time_hour AS observed_hour,
  temp AS temp_f,
  dewp AS dewpoint_f,
  humid AS humidity_percent,
  wind_dir AS wind_direction,
  wind_speed AS wind_speed_mph,
  wind_gust AS wind_gust_mph,
  precip AS precipitation_in,
  pressure AS pressure_mb,
  visib AS visibility_miles
FROM read_csv($weather, header = true, auto_detect = false, delim = ',', nullstr = 'NA', columns = {
  'origin': 'VARCHAR', 'year': 'SMALLINT', 'month': 'SMALLINT', 'day': 'SMALLINT', 'hour': 'SMALLINT',
  'temp': 'DOUBLE', 'dewp': 'DOUBLE', 'humid': 'DOUBLE', 'wind_dir': 'DOUBLE', 'wind_speed': 'DOUBLE',
  'wind_gust': 'DOUBLE', 'precip': 'DOUBLE', 'pressure': 'DOUBLE', 'visib': 'DOUBLE', 'time_hour': 'TIMESTAMPTZ'
})
WHERE year = $y AND month = $m AND ($d IS NULL OR day = $d)
ORDER BY origin, time_hour;
