"""Every method of every service is there, with the path and the shape that containerd's clients call."""

from minicontainerd.api.rpc import services, snake


def test_all_of_containerds_services_are_known() -> None:
    found = services()
    assert len(found) == 16  # sandbox has two
    assert sum(len(service.methods) for service in found) == 88
    assert {service.full_name.split(".")[0] for service in found} == {"containerd"}


def test_python_names_are_unique_within_a_service() -> None:
    for service in services():
        names = [snake(method.name) for method in service.methods]
        assert len(set(names)) == len(names)
