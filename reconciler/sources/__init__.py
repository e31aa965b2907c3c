"""Where snapshots come from: a cluster, or what kubectl printed of one."""
