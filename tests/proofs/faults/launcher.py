"""The command as a process, except that its clock is a script's: FAULTS_NOW."""

import os
import sys
from datetime import datetime

from reconciler.cli import main
from reconciler.sources.cluster import ClusterSource

if __name__ == "__main__":
    scripted = datetime.fromisoformat(os.environ["FAULTS_NOW"])
    clocks = ClusterSource.__init__.__kwdefaults__ or {}
    clocks.update(now=lambda: scripted, ticks=scripted.timestamp)
    sys.exit(main())
