"""Load on a recall service: requests at moments that do not wait for answers, so that slowness shows as latency."""
