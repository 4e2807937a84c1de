"""The public library: a repository in a few calls, with no command line in it.

    import limpet

    with limpet.open_repository("/srv/backup", "secret") as repository:
        limpet.backup(repository, ["/home/u/work"])
        for stored in limpet.snapshots(repository):
            print(stored.id.hex(), stored.snapshot.paths)

Errors are those of `limpet.errors`; nothing is ever printed. Give a `Reporter` to hear what goes on.
"""
