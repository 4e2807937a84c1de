"""Limpet hook: messages about runs by e-mail, chat or push."""
