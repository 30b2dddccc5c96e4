-- The flights of one period with what is known about them. Every flight stays, once: all joins are to unique keys, and
-- what is not known (a foreign airport, a plane that was never registered, an hour without weather) is NULL.
-- Reads the table `flights`; $weather: Parquet of the period; $airlines, $airports, $planes: CSV. Makes `result`.
CREATE TABLE result AS
WITH airports AS (
  SELECT faa, name FROM read_csv($airports, header = true, all_varchar = true, nullstr = 'NA')
)
SELECT
  f.*,
  airline.name AS airline,
  plane.year::SMALLINT AS plane_year,
  plane.manufacturer AS plane_manufacturer,
  plane.model AS plane_model,
  origin.name AS origin_name,
  dest.name AS dest_name,
  w.* EXCLUDE (origin, observed_hour)
FROM flights AS f
LEFT JOIN read_csv($airlines, header = true, all_varchar = true) AS airline ON airline.carrier = f.carrier
LEFT JOIN read_csv($planes, header = true, all_varchar = true, nullstr = 'NA') AS plane ON plane.tailnum = f.tailnum
LEFT JOIN airports AS origin ON origin.faa = f.origin
LEFT JOIN airports AS dest ON dest.faa = f.dest
LEFT JOIN read_parquet($weather) AS w ON w.origin = f.origin AND w.observed_hour = f.sched_hour
ORDER BY f.sched_dep, f.carrier, f.flight, f.origin;
