"""Kubeflow Pipelines components: one folder each; they parse, call the library and write artifacts."""
