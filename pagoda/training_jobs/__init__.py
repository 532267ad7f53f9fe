"""Training by a job of Kubeflow: the pipeline's step makes one TrainJob or PyTorchJob, and follows it to its end."""
