"""One machine: the embedded TorchServe and Milvus."""
