"""What exploration cost and brought, by what receipts say of what was shown."""
