//! How alike two fields, and two objects, are.

use crate::record::{Field, Kind, Shape};

/// Pairs that are less alike are none.
const LEAST: f64 = 0.78;

/// Names that mean the same, as tables in Brazil have them beside English
/// ones.
const WORDS: [(&str, &str); 40] = [
    ("nome", "name"),
    ("razao", "name"),
    ("title", "name"),
    ("cod", "code"),
    ("codigo", "code"),
    ("sku", "code"),
    ("preco", "price"),
    ("prc", "price"),
    ("valor", "amount"),
    ("total", "amount"),
    ("data", "date"),
    ("dt", "date"),
    ("cidade", "city"),
    ("mun", "city"),
    ("municipio", "city"),
    ("estado", "state"),
    ("est", "state"),
    ("uf", "state"),
    ("pais", "country"),
    ("endereco", "address"),
    ("end", "address"),
    ("bairro", "district"),
    ("cep", "zip"),
    ("telefone", "phone"),
    ("tel", "phone"),
    ("fone", "phone"),
    ("descricao", "description"),
    ("desc", "description"),
    ("quantidade", "quantity"),
    ("qtd", "quantity"),
    ("quant", "quantity"),
    ("qty", "quantity"),
    ("cgc", "tax_id"),
    ("cnpj", "tax_id"),
    ("cpf", "tax_id"),
    ("nasc", "born"),
    ("nascimento", "born"),
    ("birth", "born"),
    ("ativo", "active"),
    ("mail", "email"),
];

/// A field of each shape, by their positions, and how alike they are (0 to 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct Pair {
    pub source: usize,
    pub target: usize,
    pub likeness: f64,
}

/// Each field with the one that is most alike, if any is alike enough; a field
/// is in one pair at most. In the order of the source's fields.
pub(in crate::cli) fn pairs(source: &Shape, target: &Shape) -> Vec<Pair> {
    let names = [source, target].map(plain_names);
    let mut candidates = Vec::new();
    for (from, field) in source.fields.iter().enumerate() {
        for (to, other) in target.fields.iter().enumerate() {
            let is_given = other.read_only || (other.generated && !other.has_default);
            let (one, two) = (&names[0][from], &names[1][to]);
            let by_name = of_names(&words(one), &words(two)).max(of_names(&joined(one), &joined(two)));
            let likeness = by_name * 0.8 + of_kinds(field, other) * 0.2;
            if !is_given && likeness >= LEAST {
                candidates.push(Pair { source: from, target: to, likeness });
            }
        }
    }
    candidates.sort_by(|a, b| b.likeness.total_cmp(&a.likeness));
    let mut chosen: Vec<Pair> = Vec::new();
    for pair in candidates {
        if chosen.iter().all(|known| known.source != pair.source && known.target != pair.target) {
            chosen.push(pair);
        }
    }
    chosen.sort_by_key(|pair| pair.source);
    chosen
}

/// How alike two objects are: so much of the smaller one has a counterpart.
pub(in crate::cli) fn alike(source: &Shape, target: &Shape) -> f64 {
    let all: f64 = pairs(source, target).iter().map(|pair| pair.likeness).sum();
    #[expect(clippy::cast_precision_loss, reason = "objects have few fields")]
    let fields = source.len().min(target.len()).max(1) as f64;
    all / fields
}

/// The names of the fields in lower case, without what most of
/// them begin with (`A1_`).
fn plain_names(shape: &Shape) -> Vec<String> {
    let head = |field: &Field| field.name.split_once('_').map(|(head, _)| head.to_lowercase());
    let heads: Vec<Option<String>> = shape.fields.iter().map(head).collect();
    let shared = |head: &String| heads.iter().flatten().filter(|other| *other == head).count() * 2 > shape.len();
    let common = heads.iter().flatten().find(|head| shape.len() > 2 && shared(head));
    let cut = |field: &Field| {
        let name = field.name.to_lowercase().to_string();
        match (common, name.split_once('_')) {
            (Some(common), Some((head, rest))) if head == common => rest.to_owned(),
            _ => name,
        }
    };
    shape.fields.iter().map(cut).collect()
}

/// The words of a name, those that are known in the one form.
fn words(name: &str) -> String {
    let word = |word: &str| WORDS.iter().find(|(other, _)| *other == word).map_or(word, |(_, known)| *known).to_owned();
    name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(word).collect::<Vec<_>>().join("_")
}

fn joined(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Words in common count as much as letters.
fn of_names(one: &str, other: &str) -> f64 {
    let (a, b): (Vec<&str>, Vec<&str>) = (one.split('_').collect(), other.split('_').collect());
    let shared = a.iter().filter(|word| b.contains(word)).count();
    #[expect(clippy::cast_precision_loss, reason = "names have few words")]
    let by_words = 2.0 * shared as f64 / (a.len() + b.len()) as f64;
    // One that says more than the other, as `erp_code` beside `code`.
    let more = if shared > 0 && shared == a.len().min(b.len()) { 0.75 } else { 0.0 };
    strsim::jaro_winkler(one, other).max(by_words).max(more)
}

fn of_kinds(one: &Field, other: &Field) -> f64 {
    let family = |field: &Field| match &field.kind {
        Kind::Any => None,
        Kind::Boolean => Some(0),
        Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Float { .. } => Some(1),
        Kind::Text { .. } | Kind::Enum { .. } | Kind::Uuid => Some(2),
        Kind::Date | Kind::LocalTime { .. } | Kind::Instant { .. } => Some(3),
        _ => Some(4),
    };
    match (family(one), family(other)) {
        (Some(one), Some(other)) if one == other => 1.0,
        // A text may hold anything.
        (Some(2), _) | (_, Some(2)) => 0.5,
        (Some(_), Some(_)) => 0.0,
        _ => 0.7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(fields: &[(&str, Kind)]) -> Shape {
        Shape { fields: fields.iter().map(|(name, kind)| Field::new(name, kind.clone())).collect() }
    }

    #[test]
    fn fields_are_paired_by_name_and_kind() {
        let text = || Kind::Text { max: None, padded: false };
        let number = || Kind::Decimal { precision: None, scale: None };
        let source = shape(&[("A1_COD", text()), ("A1_NOME", text()), ("A1_LIMITE", number()), ("A1_DTNASC", text())]);
        let target =
            shape(&[("id", Kind::Integer { bits: 64 }), ("code", text()), ("name", text()), ("limit", number())]);
        let found: Vec<_> = pairs(&source, &target).iter().map(|pair| (pair.source, pair.target)).collect();
        assert_eq!(found, [(0, 1), (1, 2), (2, 3)]);
        let other = shape(&[("colour", text()), ("weight", number())]);
        assert_eq!(pairs(&source, &other), []);
        assert!(alike(&source, &target) > alike(&source, &other));
    }
}
