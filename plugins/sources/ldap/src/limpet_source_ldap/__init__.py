"""Limpet source: the databases of an LDAP directory, as the tools of OpenLDAP write and read them."""

from limpet_source_ldap.destination import LdapDestination
from limpet_source_ldap.source import LdapSource

__all__ = [
    "LdapDestination",
    "LdapSource",
]
