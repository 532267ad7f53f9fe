"""The folder of ID tables on a tower's host: written by the follower, read by every tower worker.

full/<version>/{users/…, items/…, encoder.json}     a base; never changed
segments/<checksum>/…                               delta segments; never changed
generations/<id>.json                               written last: once it is there, the generation can be served
current.json                                        replaced atomically
retired/<id>.json                                   a record that was taken away; its files are being removed
"""

from pagoda.embeddings.tables.inspection import Inspection
from pagoda.embeddings.tables.reader import OpenGeneration, TowerTables
from pagoda.embeddings.tables.writer import TablesWriter

__all__ = ["Inspection", "OpenGeneration", "TablesWriter", "TowerTables"]
