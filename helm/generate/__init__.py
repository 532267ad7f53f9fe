"""What is made of the chart's sources: values schema, values table, kustomize folders. `make charts` runs it."""
