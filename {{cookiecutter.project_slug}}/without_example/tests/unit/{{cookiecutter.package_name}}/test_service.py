from {{ cookiecutter.package_name }} import service


def test_the_service_is_that_of_the_proto() -> None:
    assert service.NAME == "{{ cookiecutter.package_name }}.v1.{{ cookiecutter.resource_name }}Service"
