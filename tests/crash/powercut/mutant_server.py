"""nbdkit script: the volume server with one mutant applied, named by PAIRVOL_MUTANT."""

import os

from tests.crash.powercut.mutants import ERROR_MUTANTS, SERVER_MUTANTS, SUSPENSION_MUTANTS

(SERVER_MUTANTS | ERROR_MUTANTS | SUSPENSION_MUTANTS)[os.environ["PAIRVOL_MUTANT"]]()

from nbd_plugin.plugin import *  # noqa: E402, F403
