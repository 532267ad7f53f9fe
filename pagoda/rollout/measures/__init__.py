"""What gates judge: measured of a candidate before users meet it, and of both arms while they do."""
