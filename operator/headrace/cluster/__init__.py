"""The Kubernetes edge: pods, status, projections, the Lease."""
