"""Items like an item or several: `POST /v1/models/recall:similar`."""
