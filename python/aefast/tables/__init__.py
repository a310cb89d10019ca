"""Files and Arrow tables: finding, reading and writing them."""
