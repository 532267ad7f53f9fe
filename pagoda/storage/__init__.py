"""Files by URI: atomic folders, copies, inventory, checksums."""
