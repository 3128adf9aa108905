"""``minictr``: containerd's ``ctr``, command for command.

One file a noun, one click command a function. A command translates: flags into a call of the client, what comes back
into lines. It decides nothing. Names, aliases, flags, columns and exit codes are ctr's; ``output`` has the tables and
units, ``main`` the flags of all commands and the way an error is told. It works against any containerd.
"""
