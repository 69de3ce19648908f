"""A certificate that keeps itself good; see /usr/local/sbin/atlas-certificate."""
