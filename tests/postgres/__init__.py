"""A PostgreSQL server as witness: data on one volume, its write-ahead log on another, taken over again and again."""
