import sys

from booster_agent.command import main

sys.exit(main())
