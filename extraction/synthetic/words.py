"""The words of receipts: what is sold, what rows are called, and what stands around them, by language."""

MENU = {
    "id": (
        "Nasi,Mie,Ayam,Es,Kopi,Teh,Bakso,Soto,Roti,Sate,Ikan,Tahu,Tempe,Bebek,Udang,Pisang,Bubur,Kwetiau,Lontong,Jus,"
        "Bihun,Cumi,Sop,Martabak,Pempek,Kentang,Gurame,Siomay,Telur,Susu,Paket,Jamur,Terong,Sayur,Kol,Gado-Gado,Rawon,"
        "Rendang,Opor,Ketoprak,Lumpia,Risoles,Cendol,Wedang,Jagung,Kangkung,Capcay,Kerupuk,Perkedel,Mineral,Kacang,"
        "Klepon,Bandeng,Lele,Iga,Buntut,Sambel,Bolu,Donat,Sosis".split(","),
        "Goreng,Bakar,Rebus,Pedas,Manis,Kuah,Keju,Coklat,Spesial,Campur,Tawar,Geprek,Balado,Jumbo,Biasa,Komplit,Asin,"
        "Panas,Dingin,Kecap,Sambal Ijo,Lada Hitam,Saus Padang,Rica,Penyet,Hitam,Jeruk,Alpukat,Madura,Betawi,Medan,"
        "Putih,Merah,Isi,Besar,Kecil,Botol,Hangat,Kacang,Bawang,Ayam,Sapi,Daging,Susu,Gula Aren,Kemasan,Santan,Asam,"
        "Cabe,Kriuk,Unyil,Kampung,Ati,Bumbu,Solo,Bandung".split(","),
    ),
    "cafe": (
        "Choco,Vanilla,Matcha,Caramel,Hazelnut,Mango,Lychee,Strawberry,Peach,Taro,Lemon,Coconut,Almond,Cinnamon,"
        "Blueberry,Cheese,Honey,Banana,Mocha,Pandan,Red Bean,Earl Grey,Brown Sugar,Avocado".split(","),
        "Latte,Tea,Bun,Toast,Cake,Roll,Frappe,Smoothie,Donut,Muffin,Tart,Croissant,Milk Tea,Pastry,Cookie,Gelato,"
        "Pancake,Waffle,Mochi,Cold Brew,Macchiato,Eclair,Danish,Lassi,Pudding".split(","),
    ),
    "kitchen": (
        "Grilled,Fried,Smoked,Roast,Crispy,Spicy,Steamed,BBQ,Garlic,Teriyaki,Thai,Mini,Classic,House,Double,Crunchy,"
        "Chef's,Truffle,Pepper,Buttered".split(","),
        "Chicken,Beef Bowl,Salmon,Pork Ribs,Tofu,Lamb Chop,Shrimp,Burger,Wrap,Caesar Salad,Sandwich,Pasta,Fish & Chips,"
        "Curry,Ramen,Udon,Wings,Nachos,Pizza,Risotto,Fried Rice,Dumplings,Soup,Steak 200g,Katsu,Onion Rings".split(","),
    ),
    "shop": (
        "Bio,Fresh,Organic,Family,Premium,Mini,Super,Daily,Green,Soft,Ultra,Eco,Sport,Kids,Basic,Golden".split(","),
        "Milk 1L,Bread,Butter,Eggs 12,Bananas,Apples,Tomatoes,Rice 5kg,Sugar,Olive Oil,Pasta 500g,Shampoo,Soap,"
        "Toothpaste,Batteries AA,Light Bulb,Screws M4,Wood Glue,Notebook A5,Ball Pen,Paper A4,T-Shirt,Socks,Umbrella,"
        "Vitamin C,Face Mask,USB Cable,Charger,Dog Food,Plastic Bag,Detergent,Candles,Water 600ml,Tissue,Chips,"
        "Orange Juice,Yoghurt,Cheese Slices,Frozen Peas,Car Wash".split(","),
    ),
    "de": (
        "Frische,Bio,Kleine,Große,Gegrillte,Bayerische,Hausgemachte,Gebackene,Warme,Halbe".split(","),
        "Brezel,Bratwurst,Schnitzel,Apfelschorle,Pommes,Kartoffelsuppe,Käseplatte,Vollmilch 3,5%,Brötchen,Butter,"
        "Radler 0,5l,Mineralwasser,Apfelstrudel,Currywurst,Leberkäse,Quark,Kaffee Crema,Joghurt".split(","),
    ),
    "fr": (
        "Petite,Grande,Formule,Demi,Assiette,Salade,Tarte,Quiche,Soupe,Plat".split(","),
        "Lorraine,du Jour,Maison,Chèvre Chaud,aux Pommes,Midi,Poulet,Saumon,Fromage,Campagne,Légumes,Café,Citron".split(
            ","
        ),
    ),
    "es": (
        "Tapa,Ración,Bocadillo,Media,Menú,Plato,Pincho,Copa,Tosta,Ensalada".split(","),
        "Jamón,Tortilla,Calamares,Queso,del Día,Patatas Bravas,Pollo,Gambas,Vino Tinto,Atún,Mixta,Croquetas".split(","),
    ),
}
PACKING = (
    "Paper Bag,TAKE AWAY BOX,Kantong Plastik,Straw,Lid,Chopsticks,Tas Kertas,TA Charge,Delivery Box,Gift Wrap,Ice Pack,"
    "Sendok Garpu,Paper Cup 8 OZ,Plastic Cup,Mika,Tutup Gelas,Candle,Extra Box,Bag Charge,Sedotan"
).split(",")
# Of these, names are made that no list has: a model must copy what it never saw.
SYLLABLES = (
    "ba,be,bo,ka,ke,ko,la,le,li,ma,mo,mi,na,ne,ra,ri,ro,sa,si,so,ta,te,to,ya,yo,zu,chi,shi,tan,pan,kan,ling,dar,gor,"
    "pek,mir,bak,tuk,nis,rel,vin,dor,fle,gra,que,wok,jun,han,kor,lum"
).split(",")
ENDINGS = " (L), (R), 330 ml, 2pcs,/R, - M, 16OZ, 500g, HOT, ICED, *, XL, 2, TA".split(",")
EXTRAS = (
    "Extra Cheese,No Onion,Less Sugar,Less Ice,Add Egg,Well Done,Soy Milk,Large,Regular,Take Away,Level 2,50%,Hot,"
    "Whipped Cream,Pedas,Sedang,Tidak Pedas,Nasi Putih,French Fries,Iced Tea,Coleslaw,Top Cookies,Top Cheese,Boba,"
    "Jelly,Extra Shot,No Ice,Sambal,Telur,Oat Milk,Kerupuk,Mushroom,Bacon,Gluten Free,To Share,Medium Rare"
).split(",")
SIZES = (
    "LARGE,MEDIUM,SMALL,Regular,REG,JUMBO,HALF,FULL,Short,Tall,Grande,Mini,Family,Kecil,Sedang,Besar,XL,Single,Double"
).split(",")
KINDS_OF_ITEMS = (
    "FOOD,BEVERAGES,OTHERS,DRINKS,Food,Beverage,Beer,Wine,Dessert,Liquor,Retail,MAKANAN,MINUMAN,LAIN-LAIN,Bar,Kitchen"
).split(",")
LABELS = {
    "en": {
        "subtotal": "Subtotal,Sub Total,SUBTOTAL,Sub-total,SUB TOTAL,SubTotal,Sub Ttl,NET Sales",
        "discount": "Discount,DISC,Disc,Promo,Voucher disc,Member Disc,DISCOUNT,Less",
        "service_charge": "Service Charge,Service,SVC CHG,Serv. Charge,SERVICE,Svc Charge,S. Charge",
        "other_charge": "Take Away Charge,Packing,Delivery Fee,Delivery,Surcharge,Bag Charge,Packaging",
        "tip": "Tip,Gratuity,TIP",
        "rounding": "Rounding,Rounding Adj,Round,RND,Rounding Adjustment",
        "total": "Total,TOTAL,Grand Total,GRAND TOTAL,Amount Due,Total Due,TOTAL DUE,Balance Due,TTL,Nett Total",
        "cash": "Cash,CASH,Cash Tendered,Cash Paid,Tendered,CASH TENDERED,Amount Tendered,Pay Cash",
        "change": "Change,CHANGE,Change Due,CHANGE DUE,CHANGED,Your Change,Cash Change",
        "card": "VISA,Mastercard,MASTER,Debit Card,Card,CREDIT CARD,AMEX,VISA CARD,Visa Debit,CARD PAYMENT",
        "e_money": "PayPal,Apple Pay,Google Pay,E-Money,GrabPay,Alipay",
        "voucher": "Gift Card,Voucher,GIFT VOUCHER,Coupon,GIFT{n},Promo Code,VOUCHER {n}",
        "item_count": "Total Qty,Qty,Items,Total Items,ITEM COUNT,Total Qty.,No. of Items,Items sold,TOTAL ITEMS",
        "item_type_count": "Total Item,Lines,No. of Lines,Total Line",
        "date": "Date,DATE,,,Date/Time",
        "invoice_number": "Receipt No.,Invoice No,Bill No,Check,Check #,Receipt #,Trans No,Order No,Ref,Chk,Bill#",
    },
    "id": {
        "subtotal": "Subtotal,Sub Total,SUB TOTAL,SUBTOTAL,Sub-Total,TOTAL SALES,Jumlah",
        "discount": "Diskon,Potongan,DISC,Discount,Disc,Diskon Member,DISKON",
        "service_charge": "Service,Biaya Layanan,Service Charge,SERVICE,Svc Chg,Layanan,SC",
        "other_charge": "Biaya Kirim,Bungkus,Ongkir,Kemasan,Take Away,Biaya Admin",
        "tip": "Tip,Tips",
        "rounding": "Pembulatan,Rounding,PEMBULATAN,Round",
        "total": "Total,TOTAL,Grand Total,GRAND TOTAL,Total Bayar,TOTAL BELANJA,Jumlah Total,TOTAL BAYAR,"
        "Total.,GRANDTOTAL,Total Tagihan,Total Harga",
        "cash": "Tunai,TUNAI,Bayar,Cash,CASH,Uang Bayar,CASH {currency},Pay Cash,BAYAR",
        "change": "Kembali,Kembalian,KEMBALI,Change,CHANGE,KEMBALIAN,Uang Kembali,Total Kembalian",
        "card": "Kartu,Debit BCA,Kartu Kredit,EDC BCA,BCA Card,Mandiri Debit,VISA,DEBIT,CARD,EDC MANDIRI",
        "e_money": "GoPay,OVO,DANA,Gopay,QRIS,LinkAja,Flazz",
        "voucher": "Voucher,Kupon,VOUCHER,Gift Voucher,Promo {n},VCR{n},Promo Online",
        "item_count": "Jumlah Item,Total Qty,Total Item,Qty,Total Qty.,Jml Item,Items,TOTAL QTY,TOTAL ITEM,Banyak Item",
        "item_type_count": "Jenis,Total Jenis,Jumlah Jenis",
        "date": "Tanggal,Tgl,Tgl.,,,TGL,Date",
        "invoice_number": "No. Struk,No,No. Nota,No Bill,Struk,No. Trans,Bill No,Faktur,No Order",
    },
    "de": {
        "subtotal": "Zwischensumme,Netto,Summe netto,ZWISCHENSUMME",
        "discount": "Rabatt,Nachlass,RABATT,Gutschein",
        "service_charge": "Service,Bedienung",
        "other_charge": "Pfand,Lieferung,Versand,Verpackung",
        "tip": "Trinkgeld",
        "rounding": "Rundung,Rundungsdifferenz",
        "total": "Summe,SUMME,Gesamt,Gesamtbetrag,Zu zahlen,TOTAL,Summe {currency},Endbetrag",
        "cash": "Bar,Gegeben,BAR,Bargeld",
        "change": "Rückgeld,Zurück,RÜCKGELD",
        "card": "EC-Karte,Girocard,Kreditkarte,EC-Cash,Kartenzahlung",
        "e_money": "Apple Pay,PayPal,Google Pay",
        "voucher": "Gutschein,Geschenkkarte",
        "item_count": "Posten,Artikel,Anzahl Artikel,Stück",
        "item_type_count": "Positionen",
        "date": "Datum,,,DATUM",
        "invoice_number": "Beleg-Nr.,Bon-Nr.,Rechnung Nr.,Beleg,Bon,Rechnungs-Nr.",
    },
    "fr": {
        "subtotal": "Sous-total,Total HT,SOUS-TOTAL,Montant HT",
        "discount": "Remise,Réduction,REMISE",
        "service_charge": "Service,Frais de service",
        "other_charge": "Livraison,Consigne,Emballage",
        "tip": "Pourboire",
        "rounding": "Arrondi",
        "total": "Total TTC,TOTAL,Net à payer,Montant dû,A PAYER,Total",
        "cash": "Espèces,ESPECES,Especes",
        "change": "Rendu,Monnaie,RENDU,A rendre",
        "card": "Carte Bancaire,CB,CARTE BANCAIRE",
        "e_money": "Apple Pay,Lydia",
        "voucher": "Bon d'achat,Chèque cadeau",
        "item_count": "Articles,Nb articles,Nbre articles",
        "item_type_count": "Lignes",
        "date": "Date,Le,,",
        "invoice_number": "Ticket,Ticket N°,Facture N°,Note N°",
    },
    "es": {
        "subtotal": "Subtotal,Base imponible,SUBTOTAL,Base",
        "discount": "Descuento,Dto.,DESCUENTO",
        "service_charge": "Servicio,Cubierto",
        "other_charge": "Envío,Bolsa,Terraza",
        "tip": "Propina",
        "rounding": "Redondeo",
        "total": "Total,TOTAL,Importe total,Total a pagar,TOTAL {currency},A PAGAR",
        "cash": "Efectivo,Entregado,EFECTIVO",
        "change": "Cambio,Su cambio,CAMBIO",
        "card": "Tarjeta,VISA,TARJETA",
        "e_money": "Bizum,Apple Pay",
        "voucher": "Vale,Cupón",
        "item_count": "Artículos,Uds.,Nº artículos",
        "item_type_count": "Líneas",
        "date": "Fecha,,FECHA",
        "invoice_number": "Factura,Ticket N.º,Ticket,Fra. simplificada",
    },
    "it": {
        "subtotal": "Subtotale,SUBTOTALE,Imponibile",
        "discount": "Sconto,SCONTO",
        "service_charge": "Servizio,Coperto",
        "other_charge": "Consegna,Busta",
        "tip": "Mancia",
        "rounding": "Arrotondamento",
        "total": "Totale,TOTALE,TOTALE COMPLESSIVO,Totale {currency},TOTALE EURO",
        "cash": "Contanti,CONTANTI,Contante",
        "change": "Resto,RESTO",
        "card": "Carta,Bancomat,BANCOMAT",
        "e_money": "Satispay,Apple Pay",
        "voucher": "Buono,Buono pasto",
        "item_count": "Articoli,N. articoli,Pezzi",
        "item_type_count": "Righe",
        "date": "Data,,DATA",
        "invoice_number": "Documento N.,Doc. N.,Scontrino",
    },
    "nl": {
        "subtotal": "Subtotaal,SUBTOTAAL,Totaal excl.",
        "discount": "Korting,KORTING",
        "service_charge": "Service,Bediening",
        "other_charge": "Statiegeld,Bezorgkosten,Tas",
        "tip": "Fooi",
        "rounding": "Afronding",
        "total": "Totaal,TOTAAL,Te betalen,Totaal {currency}",
        "cash": "Contant,CONTANT,Betaald",
        "change": "Wisselgeld,Terug,WISSELGELD",
        "card": "Pin,PIN,Maestro,Bankpas",
        "e_money": "iDEAL,Apple Pay",
        "voucher": "Cadeaukaart,Tegoedbon",
        "item_count": "Artikelen,Aantal,Aantal artikelen",
        "item_type_count": "Regels",
        "date": "Datum,,",
        "invoice_number": "Bonnr.,Bon,Kassabon,Factuur",
    },
}
STAFF = (
    "Cashier,Kasir,Server,Table,Pax,POS,Shift,Terminal,Guests,Order,Waiter,Station,Op,Meja,Caja,Kasse,Bediener,Tafel,"
    "Till,Register,Customer,Pelanggan,Check Type,Queue"
).split(",")
ABOVE = (
    "DINE IN,TAKE AWAY,*** COPY ***,Dine In,Welcome,TAX INVOICE,Receipt,Customer Copy,Makan di sini,BON,Selamat Datang,"
    "Ticket de caja,Kassenbon,Order 17,GUEST CHECK,#Reprint 1,Simplified Tax Invoice"
).split(",")
BELOW = (
    "Thank you,Please come again,THANK YOU FOR YOUR VISIT,WiFi: guest1234,wifi password: {n},www.example.com,"
    "Follow us @shop.{n},Have a nice day!,No refund without receipt,Member points: {n},Prices include tax,Terima kasih,"
    "Terima Kasih Atas Kunjungan Anda,Vielen Dank für Ihren Einkauf,Merci de votre visite,Gracias por su compra,Grazie,"
    "Bedankt en tot ziens,Goods sold are not returnable,Closed bill,Powered by POS {n},Survey code {n},Call center {n},"
    "Kritik & saran SMS {n},Barang yang sudah dibeli tidak dapat ditukar,Layanan Konsumen {n},Order ID {n},"
    "Printed {n},*{n}*,Signature ______,Es bediente Sie Kasse 2,Join our loyalty club,Scan for e-receipt"
).split(",")
BESIDE = (
    "ok,paid,lunas,p. 2,JT,team lunch,copy,OPEN,EXIT,menu,thx,reimb.,~,EDC,PUSH,Sari,see me,ASUS,Honda,tgl 3".split(",")
)
SLIP = (
    "MID {n},TID {n},BATCH {n},APPR CODE {n},TRACE NO {n},**** **** **** {n},XXXXXXXXXXXX{n},SALE,APPROVED,AID A{n},"
    "NO SIGNATURE REQUIRED,Contactless,I agree to pay above total amount,RRN {n},ENTRY: CHIP"
).split(",")
