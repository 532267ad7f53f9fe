"""`python -m helm.generate`: bring everything that is made of the chart up to date."""

from helm.generate import kustomize, values_schema, values_table
from helm.generate.chart import CHART, MANIFESTS

values_schema.write(CHART)
values_table.write(CHART)
kustomize.write(MANIFESTS)
