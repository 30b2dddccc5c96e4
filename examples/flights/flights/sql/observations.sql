-- The year's hourly weather as the feed tells it: typed, NA as NULL, one row for each airport and hour, nothing mended.
-- $weather: CSV of the year. Makes the table `observations`.
CREATE TABLE observations AS
SELECT DISTINCT ON (origin, time_hour)
  origin,
  time_hour AS observed_hour,
  temp AS temp_f,
  wind_speed AS wind_speed_mph,
  precip AS precipitation_in,
  pressure AS pressure_mb
FROM read_csv($weather, header = true, auto_detect = false, delim = ',', nullstr = 'NA', columns = {
  'origin': 'VARCHAR', 'year': 'SMALLINT', 'month': 'SMALLINT', 'day': 'SMALLINT', 'hour': 'SMALLINT',
  'temp': 'DOUBLE', 'dewp': 'DOUBLE', 'humid': 'DOUBLE', 'wind_dir': 'DOUBLE', 'wind_speed': 'DOUBLE',
  'wind_gust': 'DOUBLE', 'precip': 'DOUBLE', 'pressure': 'DOUBLE', 'visib': 'DOUBLE', 'time_hour': 'TIMESTAMPTZ'
})
ORDER BY origin, time_hour;
