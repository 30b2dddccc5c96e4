"""What the API server asks before it stores a DAG, Job or Dataset. Served by every operator, whoever leads."""
