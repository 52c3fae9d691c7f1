//! Words to make companies of.

/// Given names.
pub(super) const GIVEN: [&str; 32] = [
    "Ada", "Amara", "Bao", "Carmen", "Chidi", "Dana", "Elif", "Emeka", "Farah", "Goran", "Hana", "Ines",
    "Jonas", "Kaito", "Leila", "Mateo", "Mira", "Nadia", "Noor", "Olek", "Priya", "Quinn", "Rafael", "Sanna",
    "Tariq", "Uma", "Viktor", "Wanjiru", "Ximena", "Yusuf", "Zoë", "José",
];

/// Family names, some with letters that ASCII has not and one with a quote.
pub(super) const FAMILY: [&str; 32] = [
    "Adeyemi",
    "Bergström",
    "Castillo",
    "Demir",
    "Eriksen",
    "Fischer",
    "García",
    "Haddad",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Müller",
    "Nakamura",
    "O'Brien",
    "Okafor",
    "Petrov",
    "Quispe",
    "Rossi",
    "Silva",
    "Tanaka",
    "Ueda",
    "Vargas",
    "Weber",
    "Xu",
    "Yılmaz",
    "Zhang",
    "Abbott",
    "Bianchi",
    "Chen",
    "Dubois",
    "Eze",
];

/// Customers, each with its mail domain.
pub(super) const CUSTOMERS: [(&str, &str); 7] = [
    ("Northwind", "northwind.example"),
    ("Halden Robotics", "halden.example"),
    ("Mesa Foods", "mesafoods.example"),
    ("Blue Quay", "bluequay.example"),
    ("Orrin & Pike", "orrinpike.example"),
    ("Tallgrass Energy", "tallgrass.example"),
    ("Vela Travel", "vela.example"),
];

/// Groups.
pub(super) const GROUPS: [&str; 10] = [
    "Finance",
    "Sales",
    "Engineering",
    "Support",
    "People",
    "Legal",
    "Marketing",
    "Operations",
    "Security",
    "Design",
];

/// Job titles.
pub(super) const TITLES: [&str; 8] =
    ["Analyst", "Engineer", "Manager", "Director", "Designer", "Counsel", "Technician", "Assistant"];
