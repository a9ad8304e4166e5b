"""What the prompts offer when only the name of the project is given."""

from __future__ import annotations

import builtins
import keyword
import re
from typing import TYPE_CHECKING

import pytest
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config

from tools.bake import bake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Baked

PROMPTS = [
    "project_name",
    "project_slug",
    "package_name",
    "resource_name",
    "resource_plural",
    "description",
    "owner",
    "organization",
    "trust_domain",
    "ci_provider",
    "licence",
    "example",
]
# project name: slug, package, resource, plural, permission names begin with
DERIVED = {
    "Order Service": ("order-service", "order_service", "Order", "Orders", "orders"),
    "Orders Service": ("orders-service", "orders_service", "Order", "Orders", "orders"),
    "order service": ("order-service", "order_service", "Order", "Orders", "orders"),
    "Order Service v2": ("order-service-v2", "order_service_v2", "Order", "Orders", "orders"),
    "Order API": ("order-api", "order_api", "Order", "Orders", "orders"),
    "Purchase Order Service": (
        "purchase-order-service",
        "purchase_order_service",
        "PurchaseOrder",
        "PurchaseOrders",
        "purchase_orders",
    ),
    "Billing": ("billing-service", "billing_service", "Billing", "Billings", "billings"),
    "Calendar": ("calendar-service", "calendar_service", "Calendar", "Calendars", "calendars"),
    "Python": ("python-service", "python_service", "Python", "Pythons", "pythons"),
    "Categories Service": ("categories-service", "categories_service", "Category", "Categories", "categories"),
    "Day Service": ("day-service", "day_service", "Day", "Days", "days"),
    "Addresses Service": ("addresses-service", "addresses_service", "Address", "Addresses", "addresses"),
    "Box Service": ("box-service", "box_service", "Box", "Boxes", "boxes"),
    "Branch Service": ("branch-service", "branch_service", "Branch", "Branches", "branches"),
    "Status Service": ("status-service", "status_service", "Status", "Statuses", "statuses"),
    "HTTPRoute Service": ("httproute-service", "httproute_service", "HTTPRoute", "HTTPRoutes", "http_routes"),
    "SKU Service": ("sku-service", "sku_service", "SKU", "SKUs", "skus"),
    "Class Service": ("class-service", "class_service", "ClassItem", "ClassItems", "class_items"),
    "Message Service": ("message-service", "message_service", "MessageItem", "MessageItems", "message_items"),
    "Service": ("service-service", "service_service", "Item", "Items", "items"),
    "A": ("a-service", "a_service", "A", "AItems", "a_items"),
    "3D Printing": ("service-3d-printing", "service_3d_printing", "Item3DPrinting", "Item3DPrintings", None),
    "O'Neill's Orders": ("o-neill-s-orders", "o_neill_s_orders", "ONeillSOrder", "ONeillSOrders", None),
    "Größe & Maß": ("grosse-mass", "grosse_mass", "GrosseMass", "GrosseMasses", "grosse_masses"),
    "Заказы": ("zakazy-service", "zakazy_service", "Zakazy", "Zakazies", "zakazies"),
    "注文サービス": ("zhu-wen-sahisu", "zhu_wen_sahisu", "ZhuWenSahisu", "ZhuWenSahisus", "zhu_wen_sahisus"),
    "!!!": ("service-service", "service_service", "Item", "Items", "items"),
    "Customer Relationship Management Notifications": (
        "customer-relationship",
        "customer_relationship",
        "CustomerRelationship",
        "CustomerRelationships",
        "customer_relationships",
    ),
    "Antidisestablishmentarianismologies": (
        "antidisestablishmentar-service",
        "antidisestablishmentar_service",
        "Antidisestablishmentarianism",
        "Antidisestablishmentarianisms",
        "antidisestablishmentarianisms",
    ),
}


def answers(template: Path, **given: str) -> dict[str, str]:
    """Return what would be generated, without generating it."""
    context = generate_context(str(template / "cookiecutter.json"), extra_context=given)
    return dict(prompt_for_config(context, no_input=True))


def test_there_are_twelve_prompts_and_each_says_what_it_asks_for(template: Path) -> None:
    context = generate_context(str(template / "cookiecutter.json"))["cookiecutter"]
    assert [name for name in context if not name.startswith("_")] == PROMPTS
    assert list(context["__prompts__"]) == [name for name in PROMPTS if name != "__prompts__"]
    for choice in ("ci_provider", "licence", "example"):
        assert set(context["__prompts__"][choice]) == {"__prompt__", *context[choice]}


@pytest.mark.parametrize("project_name", DERIVED)
def test_the_names_are_derived_from_the_name_of_the_project(template: Path, project_name: str) -> None:
    slug, package, resource, plural, resources = DERIVED[project_name]
    made = answers(template, project_name=project_name)
    assert (made["project_slug"], made["package_name"]) == (slug, package)
    assert (made["resource_name"], made["resource_plural"]) == (resource, plural)
    if resources:
        assert made["__resources"] == resources
    assert made["description"] == f"Keeps {made['__resources'].replace('_', ' ')}, for the callers that may see them."


@pytest.mark.parametrize("project_name", DERIVED)
def test_what_is_derived_is_not_refused(baked: Baked, project_name: str) -> None:
    assert baked(project_name=project_name).name == DERIVED[project_name][0]


def test_no_single_word_makes_a_default_that_is_refused(template: Path, tmp_path: Path) -> None:
    words = answers(template)["__taken"].split()
    names = {answers(template, project_name=word.capitalize())["resource_name"] for word in words if "_" not in word}
    assert len(names) > 100
    assert not {name.lower() for name in names} & set(words)
    # the hook itself agrees, for one of each kind
    for word in ("Return", "Type", "Filter", "Timestamp"):
        assert bake(tmp_path, {"project_name": word}, template).is_dir()


@pytest.mark.parametrize(
    ("resource", "plural", "file", "files"),
    [
        ("PurchaseOrder", "PurchaseOrders", "purchase_order", "purchase_orders"),
        ("HTTPRoute", "HTTPRoutes", "http_route", "http_routes"),
        ("A", "AItems", "a", "a_items"),
        ("Order2", "Order2s", "order2", "order2s"),
        ("SKU", "SKUs", "sku", "skus"),
        ("OrderV2", "OrderV2s", "order_v2", "order_v2s"),
    ],
)
def test_names_in_snake_case(template: Path, resource: str, plural: str, file: str, files: str) -> None:
    made = answers(template, resource_name=resource)
    assert made["resource_plural"] == plural
    assert (made["__resource_file"], made["__resource_field"], made["__resources"]) == (file, file, files)


@pytest.mark.parametrize(
    ("resource", "plural", "files"),
    [("Person", "People", "people"), ("URLMap", "AllURLMaps", "all_url_maps"), ("Sheep", "SheepList", "sheep_list")],
)
def test_a_plural_of_its_own_in_snake_case(template: Path, resource: str, plural: str, files: str) -> None:
    assert answers(template, resource_name=resource, resource_plural=plural)["__resources"] == files


def test_the_longest_resource_has_a_plural_that_is_not_refused(baked: Baked) -> None:
    assert baked(resource_name="P" + "o" * 29).is_dir()


@pytest.mark.parametrize(
    ("owner", "organization", "handle"),
    [
        ("Platform Team", "Example", "@example/platform-team"),
        ("Zahlungen & Mehr", "Müller GmbH", "@muller-gmbh/zahlungen-mehr"),
        ("???", "!!!", "@organization/owner"),
    ],
)
def test_the_handle_of_the_owner(template: Path, owner: str, organization: str, handle: str) -> None:
    assert answers(template, owner=owner, organization=organization)["__owner_handle"] == handle


def test_the_words_that_are_taken_hold_all_of_python(template: Path) -> None:
    taken = answers(template)["__taken"].split()
    assert taken == sorted(set(taken))
    words = {word.lower() for word in [*keyword.kwlist, *keyword.softkwlist] if word != "_"}
    words |= {word for word in dir(builtins) if re.fullmatch("[a-z]+", word)}
    assert not words - set(taken)
