"""Limpet source: LDAP directories of OpenLDAP."""
