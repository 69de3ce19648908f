import machine


def test_pip_inside_uses_the_index_and_the_authority_of_this_machine():
    listed = """:env:.cert='/etc/ssl/corporate.pem'
global.index-url='https://mirror.example/simple'
global.extra-index-url='file:///srv/wheels'
global.cert='/etc/ssl/other.pem'
"""
    configuration, certificate = machine.pip_configuration(listed)
    assert certificate == "/etc/ssl/corporate.pem"
    assert (
        configuration == f"[global]\ncert = {machine.CA_INSIDE}\nindex-url = https://mirror.example/simple\n"
    )


def test_pip_inside_is_left_alone_where_this_machine_sets_nothing():
    assert machine.pip_configuration("global.disable-pip-version-check='1'\n") == ("", "")
