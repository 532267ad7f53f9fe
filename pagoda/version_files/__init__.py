"""The files of full and incremental versions, and versions opened from them."""
