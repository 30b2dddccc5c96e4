-- The flights of one period: typed, NA as NULL, times of day as instants.
-- $flights: CSV of the period. Makes the table `result`.
CREATE TABLE result AS
WITH typed AS (
  SELECT *
  FROM read_csv($flights, header = true, auto_detect = false, delim = ',', nullstr = 'NA', columns = {
    'year': 'SMALLINT', 'month': 'SMALLINT', 'day': 'SMALLINT',
    'dep_time': 'SMALLINT', 'sched_dep_time': 'SMALLINT', 'dep_delay': 'DOUBLE',
    'arr_time': 'SMALLINT', 'sched_arr_time': 'SMALLINT', 'arr_delay': 'DOUBLE',
    'carrier': 'VARCHAR', 'flight': 'INTEGER', 'tailnum': 'VARCHAR', 'origin': 'VARCHAR', 'dest': 'VARCHAR',
    'air_time': 'DOUBLE', 'distance': 'DOUBLE', 'hour': 'SMALLINT', 'minute': 'SMALLINT', 'time_hour': 'TIMESTAMPTZ'
  })
), timed AS (
  -- The schedule is in local time, and all three origins keep New York's: the zone knows the two changes of the clock.
  SELECT *, timezone('America/New_York', make_timestamp(year, month, day, hour, minute, 0)) AS sched_dep
  FROM typed
)
SELECT
  make_date(year, month, day) AS flight_date,
  sched_dep,                                                    -- the instant of the scheduled departure
  date_trunc('hour', sched_dep) AS sched_hour,                  -- what the weather is looked up by
  sched_dep + to_minutes(dep_delay::BIGINT) AS dep,             -- the instant it left; NULL if it did not
  carrier,
  flight,
  tailnum,
  origin,
  dest,
  dep_delay,                                                    -- minutes, negative if early
  arr_delay,
  air_time,                                                     -- minutes
  distance,                                                     -- miles
  dep_time IS NULL AS cancelled,
  dep_time IS NOT NULL AND arr_delay IS NULL AS diverted        -- left, but never arrived where it was to
FROM timed
ORDER BY sched_dep, carrier, flight, origin;
