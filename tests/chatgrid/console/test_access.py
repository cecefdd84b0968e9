"""Who may open what in the console: role x route, and never another company's."""

from __future__ import annotations

import secrets

import pytest
from django.test import AsyncClient
from django.urls import reverse

from chatgrid.accounts.models import User
from departments.limits.models import Limit
from departments.models import Department, Membership, Organization
from tests.chatgrid.console.rows import LISTED, STOCK, row_of
from tests.company import Company, freshly_signed_in, give_key, set_limit, signed_in

LISTS = tuple(LISTED)
# rows that belong to no company: the same for all
OF_NOBODY = {"calls_cataloguemodel"}
# page -> whether an auditor may open it, too
PAGES = {
    "accounts_user_add": False,
    "departments_membership_add": False,
    "departments_department_add": False,
    "limits_limit_add": False,
    "audit_legalhold_add": False,
    "keys_keyreference_paste": False,
    "keys_adminkeyreference_paste": False,
    "keys_keyaccess_add": False,
    "index": True,
    "jsi18n": True,
}


def operator() -> User:
    address = f"op-{secrets.token_hex(4)}@platform.example"
    return User.objects.create_superuser(address, "a long phrase", name="Operator")


def objects_of(company: Company) -> dict[str, object]:
    """One object of each kind, by the name of its page."""
    give_key(company.hr)
    known = {
        "accounts_user": company.bob.pk,
        "departments_membership": Membership.objects.filter(department=company.hr).first().pk,
        "departments_department": company.hr.pk,
        "departments_organization": company.organization.pk,
        "keys_keyreference": company.hr.key.pk,
        "limits_limit": set_limit(company, department=company.hr, tokens_per_day=9).pk,
    }
    others = {name for name in STOCK if name not in known and name not in OF_NOBODY}
    return known | {name: row_of(name, company).pk for name in others}


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_opens_for_it_auditor_and_operator_only(company: Company, name: str) -> None:
    address = reverse(f"admin:{name}_changelist")
    expected = {company.ivan: 200, company.ada: 200, operator(): 200, company.alice: 403, company.bob: 403}
    for person, status in expected.items():
        assert (await (await signed_in(person)).get(address)).status_code == status, person


async def test_the_operator_begins_in_the_console() -> None:
    assert (await (await signed_in(operator())).get("/")).headers["location"] == reverse("admin:index")


async def test_who_has_no_department_finds_the_console_from_the_first_page(company: Company) -> None:
    button = "Open the console"
    assert button in (await (await signed_in(company.ada)).get("/")).content.decode()
    company.bob.memberships.all().delete()
    assert button not in (await (await signed_in(company.bob)).get("/")).content.decode()


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_that_changes_something_opens_for_it_only(company: Company, name: str) -> None:
    address = reverse(f"admin:{name}")
    auditor = 200 if PAGES[name] else 403
    for person, status in {company.ivan: 200, company.ada: auditor, company.alice: 403, company.bob: 403}.items():
        assert (await (await freshly_signed_in(person)).get(address)).status_code == status, person


async def test_who_may_not_is_told_so_before_being_asked_for_a_password(company: Company) -> None:
    address = reverse("admin:keys_keyreference_paste")
    for person, status in {company.ada: 403, company.alice: 403, company.ivan: 302}.items():
        assert (await (await signed_in(person)).get(address)).status_code == status, person


@pytest.mark.parametrize("name", [*(f"{name}_changelist" for name in LISTS), *PAGES])
async def test_nobody_signed_in_is_sent_to_the_product_s_sign_in(name: str) -> None:
    address = reverse(f"admin:{name}")
    response = await AsyncClient().get(address)
    assert response.status_code == 302
    assert response.url == f"{reverse('account_login')}?next={address}"


async def test_the_console_has_no_sign_in_page_of_its_own() -> None:
    response = await AsyncClient().get("/admin/login/?next=/admin/limits/limit/")
    assert response.url == f"{reverse('account_login')}?next=/admin/limits/limit/"
    assert (await AsyncClient().post("/admin/login/", {"username": "a", "password": "b"})).status_code == 302


@pytest.mark.parametrize("page", ["change", "history"])
async def test_an_object_opens_in_its_own_company_and_is_not_there_in_another(
    company: Company, other_company: Company, page: str
) -> None:
    for name, pk in objects_of(company).items():
        address = reverse(f"admin:{name}_{page}", args=[pk])
        expected = {company.ivan: 200, company.ada: 200, other_company.ivan: 404, other_company.ada: 404}
        for person, status in {**expected, company.bob: 403}.items():
            assert (await (await signed_in(person)).get(address)).status_code == status, (name, person)


async def test_posting_to_an_object_of_another_company_finds_nothing(company: Company, other_company: Company) -> None:
    ours = objects_of(company)
    for name, pk in ours.items():
        for page in ("change", "delete"):
            address = reverse(f"admin:{name}_{page}", args=[pk])
            response = await (await signed_in(other_company.ivan)).post(address, {"post": "yes", "reason": "mine now"})
            assert response.status_code in {404, 405}, (name, page)  # 405: a page that is only read
    assert Limit.objects.filter(pk=ours["limits_limit"]).exists()


async def test_an_auditor_looks_and_changes_nothing(company: Company) -> None:
    client = await signed_in(company.ada)
    for name, pk in objects_of(company).items():
        page = await client.get(reverse(f"admin:{name}_change", args=[pk]))
        assert b'name="_save"' not in page.content, name
        for action in ("change", "delete"):
            response = await client.post(reverse(f"admin:{name}_{action}", args=[pk]), {"post": "yes", "name": "Mine"})
            assert response.status_code in {403, 405}, (name, action)  # 405: a page that is only read
    provision = reverse("admin:departments_department_provision", args=[company.hr.pk])
    assert (await client.post(provision)).status_code == 403
    listing = reverse("admin:accounts_user_changelist")
    await client.post(listing, {"action": "close", "_selected_action": [str(company.bob.pk)]})
    assert User.objects.get(pk=company.bob.pk).is_active


async def test_a_lost_role_closes_the_console_at_the_next_request(company: Company) -> None:
    client = await signed_in(company.ivan)
    assert (await client.get("/admin/")).status_code == 200
    User.objects.filter(pk=company.ivan.pk).update(role="member")
    assert (await client.get("/admin/")).status_code == 403


async def test_lists_and_searches_show_nothing_of_another_company(company: Company, other_company: Company) -> None:
    objects_of(company)
    Department.objects.filter(pk=company.hr.pk).update(name="Ours alone")
    client = await signed_in(other_company.ivan)
    secret = {"Ours alone", company.organization.name, company.bob.email, company.hr.key.fingerprint}
    for name in LISTS:
        address = reverse(f"admin:{name}_changelist")
        for query in ({}, {"q": "Ours"}, {"q": company.bob.email}, {"department": str(company.hr.pk)}):
            page = (await client.get(address, query)).content.decode()
            # what was typed is repeated in the search box of the one who typed it
            page = page.replace(f'value="{query.get("q")}"', "")
            assert not [word for word in secret if word in page], (name, query)
    home = (await client.get("/admin/")).content.decode()
    assert not [word for word in secret if word in home]


async def test_choice_lists_offer_the_own_company_only(company: Company, other_company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    for name in ("limits_limit_add", "departments_membership_add", "keys_keyreference_paste", "accounts_user_add"):
        page = (await client.get(reverse(f"admin:{name}"))).content.decode()
        assert str(company.finance.pk) in page, name
        assert str(other_company.finance.pk) not in page, name


async def test_autocomplete_finds_people_of_the_own_company_only(company: Company, other_company: Company) -> None:
    client = await signed_in(company.ivan)
    query = {"app_label": "departments", "model_name": "membership", "field_name": "user", "term": "Bob"}
    found = (await client.get("/admin/autocomplete/", query)).json()["results"]
    assert [entry["id"] for entry in found] == [str(company.bob.pk)]
    for address in (other_company.bob.email, "platform.example"):
        assert (await client.get("/admin/autocomplete/", {**query, "term": address})).json()["results"] == []


async def test_a_foreign_choice_is_refused_when_posted(company: Company, other_company: Company) -> None:
    client = await signed_in(company.ivan)
    for field, foreign in (("department", other_company.hr), ("person", other_company.bob)):
        values = {field: str(foreign.pk), "tokens_per_day": "5", "reason": "mine"}
        response = await client.post(reverse("admin:limits_limit_add"), values)
        assert response.status_code == 200
        assert b"errorlist" in response.content
    values = {"user": str(company.bob.pk), "department": str(other_company.hr.pk), "role": "admin"}
    assert (await client.post(reverse("admin:departments_membership_add"), values)).status_code == 200
    assert not Membership.objects.filter(department=other_company.hr, user=company.bob).exists()
    assert not Limit.objects.filter(organization=company.organization).exists()


async def test_fields_that_are_not_in_a_form_cannot_be_posted(company: Company, other_company: Company) -> None:
    client = await signed_in(company.ivan)
    stolen = {"organization": str(other_company.organization.pk), "is_superuser": "on", "is_staff": "on"}
    inline = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    values = {"name": "Bob", "email": company.bob.email, "role": "member", "is_active": "on", "password": "known"}
    address = reverse("admin:accounts_user_change", args=[company.bob.pk])
    assert (await client.post(address, {**values, **stolen, **inline})).status_code == 302
    bob = User.objects.get(pk=company.bob.pk)
    assert (bob.organization_id, bob.is_superuser, bob.is_staff) == (company.organization.pk, False, False)
    assert bob.password == company.bob.password


async def test_actions_reach_the_own_company_only(company: Company, other_company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    both = {"reason": "test", "_selected_action": [str(company.bob.pk), str(other_company.bob.pk)], "action": "close"}
    await client.post(reverse("admin:accounts_user_changelist"), {**both, "select_across": "1"})
    assert not User.objects.get(pk=company.bob.pk).is_active
    assert User.objects.get(pk=other_company.bob.pk).is_active


async def test_it_does_not_see_operators_even_in_their_own_company(company: Company) -> None:
    hidden = operator()
    User.objects.filter(pk=hidden.pk).update(organization=company.organization)
    client = await signed_in(company.ivan)
    assert (await client.get(reverse("admin:accounts_user_change", args=[hidden.pk]))).status_code == 404
    assert hidden.email.encode() not in (await client.get(reverse("admin:accounts_user_changelist"))).content


async def test_an_operator_sees_every_company_and_adds_one(company: Company, other_company: Company) -> None:
    client = await signed_in(operator())
    for address in (company.ivan, other_company.ivan):
        assert (await client.get(reverse("admin:accounts_user_change", args=[address.pk]))).status_code == 200
    slug = f"new-{secrets.token_hex(4)}"
    values = {"name": "New", "slug": slug, "time_zone": "Europe/Paris", "second_factor": "off"}
    assert (await client.post(reverse("admin:departments_organization_add"), values)).status_code == 302
    assert Organization.objects.filter(slug=slug).exists()
    assert (await (await signed_in(company.ivan)).get(reverse("admin:departments_organization_add"))).status_code == 403


async def test_the_catalogue_is_edited_by_it_only_while_theirs_is_the_only_company(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await signed_in(company.ivan)
    address = reverse("admin:calls_cataloguemodel_add")
    assert (await client.get(address)).status_code == 403  # other tests' companies share the deployment
    monkeypatch.setattr("chatgrid.console.scope.is_only_organization", lambda: True)
    assert (await client.get(address)).status_code == 200
    assert (await (await signed_in(company.ada)).get(address)).status_code == 403


async def test_pages_that_django_offers_and_we_do_not_are_not_there(company: Company) -> None:
    client = await signed_in(company.ivan)
    for address in ("password_change/", "logout/", "r/1/1/", "auth/group/", "chat/conversation/", "chat/message/"):
        assert (await client.get(f"/admin/{address}")).status_code == 404, address
