from terminals.api.collection import TerminalCollection

collections = {"terminals": TerminalCollection}
