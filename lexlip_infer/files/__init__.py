"""Files and folders that appear whole or not at all, and locks: the only room that makes anything durable."""
