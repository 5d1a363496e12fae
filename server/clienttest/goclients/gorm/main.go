// gorm: its migrator, which reads the catalog before it changes anything, and its queries.
package main

import (
	"errors"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/meridian-db/meridian/server/clienttest/goclients/internal/check"
)

type Shop struct {
	ID        uint   `gorm:"primaryKey"`
	Name      string `gorm:"size:40;not null;uniqueIndex"`
	Rating    float64
	Items     []Item `gorm:"constraint:OnDelete:CASCADE"`
	CreatedAt time.Time
	DeletedAt gorm.DeletedAt `gorm:"index"`
}

type Item struct {
	ID     int64
	ShopID uint    `gorm:"not null;index:item_shop_price"`
	Price  float64 `gorm:"type:numeric(10,2);default:0;check:item_price,price >= 0;index:item_shop_price,sort:desc"`
	Label  *string `gorm:"comment:as printed"`
}

// wider is what Item becomes.
type wider struct {
	ID     int64
	ShopID uint
	Price  float64 `gorm:"type:numeric(12,3)"`
	Label  *string `gorm:"type:varchar(99)"`
	Sold   bool    `gorm:"not null;default:false"`
}

func (wider) TableName() string { return "items" }

func main() {
	db := check.Must(gorm.Open(postgres.Open(check.URL()), &gorm.Config{TranslateError: true, Logger: logger.Discard}))
	check.OK(db.AutoMigrate(&Shop{}, &Item{}))
	check.OK(db.AutoMigrate(&Shop{}, &Item{})) // finds that all is there
	m := db.Migrator()
	check.Equal([]bool{m.HasTable("items"), m.HasColumn(&Item{}, "label"), m.HasIndex(&Item{}, "item_shop_price"), m.HasConstraint(&Item{}, "item_price"),
		m.HasConstraint(&Shop{}, "Items")}, []bool{true, true, true, true, true})

	label := "pear"
	shop := Shop{Name: "corner", Items: []Item{{Price: 3.5}, {Price: 4, Label: &label}}}
	check.OK(db.Create(&shop).Error)
	var got Shop
	check.OK(db.Preload("Items", func(db *gorm.DB) *gorm.DB { return db.Order("price") }).First(&got, "name = ?", "corner").Error)
	check.Equal([]any{len(got.Items), got.Items[0].Price, *got.Items[1].Label}, []any{2, 3.5, "pear"})
	check.OK(db.Model(&Item{}).Where("shop_id = ?", shop.ID).Update("price", gorm.Expr("price * 2")).Error)
	items := make([]Item, 300)
	for i := range items {
		items[i] = Item{ShopID: shop.ID, Price: float64(i)}
	}
	check.OK(db.CreateInBatches(items, 100).Error)
	check.OK(db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.AssignmentColumns([]string{"rating"})}).
		Create(&Shop{Name: "corner", Rating: 5}).Error)
	var sum float64
	check.OK(db.Model(&Item{}).Select("sum(price)").Where("price < ?", 10).Scan(&sum).Error)
	check.Equal(sum, 60.0)

	// Transactions and errors.
	check.Equal(db.Transaction(func(tx *gorm.DB) error {
		check.OK(tx.Where("true").Delete(&Item{}).Error)
		check.Equal(errors.Is(tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&Shop{Name: "corner"}).Error }), gorm.ErrDuplicatedKey), true)
		return errors.New("no")
	}).Error(), "no")
	var n int64
	check.OK(db.Model(&Item{}).Count(&n).Error)
	check.Equal(n, int64(302))
	check.Equal(errors.Is(db.Create(&Item{ShopID: 999}).Error, gorm.ErrForeignKeyViolated), true)
	check.Equal(errors.Is(db.Create(&Item{ShopID: shop.ID, Price: -1}).Error, gorm.ErrCheckConstraintViolated), true)
	check.Equal(errors.Is(db.First(&Shop{}, "name = ?", "none").Error, gorm.ErrRecordNotFound), true)
	check.OK(db.Transaction(func(tx *gorm.DB) error {
		return tx.Clauses(clause.Locking{Strength: "UPDATE", Options: "SKIP LOCKED"}).First(&got).Error
	}))
	check.OK(db.Delete(&got).Error) // softly
	check.Equal(errors.Is(db.First(&Shop{}).Error, gorm.ErrRecordNotFound), true)

	// Columns that change.
	check.OK(db.AutoMigrate(&wider{}))
	for _, c := range check.Must(m.ColumnTypes("items")) {
		if c.Name() == "price" {
			precision, scale, _ := c.DecimalSize()
			check.Equal([]int64{precision, scale}, []int64{12, 3})
		}
	}
	check.Equal(m.HasColumn(&wider{}, "Sold"), true)
	check.OK(m.RenameColumn(&wider{}, "label", "remark"))
	check.OK(m.DropColumn(&wider{}, "sold"))
	check.Equal(len(check.Must(m.GetIndexes(&Item{}))), 1)
	check.OK(m.DropTable(&Item{}, &Shop{}))
	check.Equal(len(check.Must(m.GetTables())), 0)
	check.Done()
}
