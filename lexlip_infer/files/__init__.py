"""Files and folders that appear whole or not at all, and locks: the only room that makes anything durable."""

from lexlip_infer.files.durable import (
    check_new_path,
    locked,
    new_file,
    new_folder,
    refuse_existing,
    replacing,
    sync_file,
    sync_folder,
    sync_tree,
    unwritable,
    write_synced,
    write_whole,
    writing,
)
from lexlip_infer.files.hashed import HashedFile, first_fault, hash_file, read_hashed, read_version

__all__ = [
    "HashedFile",
    "check_new_path",
    "first_fault",
    "hash_file",
    "locked",
    "new_file",
    "new_folder",
    "read_hashed",
    "read_version",
    "refuse_existing",
    "replacing",
    "sync_file",
    "sync_folder",
    "sync_tree",
    "unwritable",
    "write_synced",
    "write_whole",
    "writing",
]
