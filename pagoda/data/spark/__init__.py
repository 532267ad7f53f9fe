"""An import on Spark: the importer's own readers, casts and checks in its tasks, its sort between them.

Nothing else of Pagoda imports pyspark, which is installed by the extra `spark`.
"""
